"""What a run was made from, read off the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from albor.runs.manifest import EXTERNAL, InputRef, Manifest, load


def input_path(directory: Path, ref: InputRef) -> Path:
    """The directory of an input's files."""
    return Path(ref.path) if ref.stage in EXTERNAL else (directory / ref.path).resolve()


def chain(directory: Path) -> Iterator[tuple[Path, Manifest]]:
    """The runs that ``directory`` depends on and itself, inputs first, each once. Raises AlborError."""
    seen: set[Path] = set()

    def visit(place: Path) -> Iterator[tuple[Path, Manifest]]:
        if place in seen:
            return
        seen.add(place)
        run = load(place)
        for ref in run.inputs.values():
            if ref.stage not in EXTERNAL:
                yield from visit(input_path(place, ref).parent)
        yield place, run

    yield from visit(directory.resolve())
