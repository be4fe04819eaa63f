"""What a run was made from, read off the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from albor.runs.manifest import EXTERNAL, NAME, InputRef, Manifest, load


def input_path(directory: Path, ref: InputRef) -> Path:
    """The directory of an input's files."""
    return Path(ref.path) if ref.stage in EXTERNAL else (directory / ref.path).resolve()


def chain(directory: Path, *, unfinished: bool = False) -> Iterator[tuple[Path, Manifest]]:
    """The runs that ``directory`` depends on and itself, inputs first, each once; with ``unfinished`` only as far up as
    there is something to do. What a finished run was made from may be gone. Raises AlborError."""
    seen: set[Path] = set()

    def visit(place: Path) -> Iterator[tuple[Path, Manifest]]:
        if place in seen:
            return
        seen.add(place)
        run = load(place)
        done = run.status == "done"
        above = [input_path(place, ref).parent for ref in run.inputs.values() if ref.stage not in EXTERNAL]
        for upstream in above:
            if not (done and (unfinished or not (upstream / NAME).exists())):
                yield from visit(upstream)
        yield place, run

    yield from visit(directory.resolve())
