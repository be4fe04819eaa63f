"""The files of a release: what they are, and what must not be in them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from albor.runs import checkpoints, manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run

PICKLES = frozenset((".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz", ".h5"))
"""Endings of files that run code when they are loaded, or may."""
PICKLED = re.compile(rb"\x80[\x02-\x05]")
CODE = frozenset((".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".bat", ".exe", ".jar", ".ipynb"))
TEXT = frozenset((".json", ".jsonl", ".yaml", ".yml", ".md", ".txt", ".html", ".jinja"))
PRIVATE = re.compile(r"(?:/home/|/Users/|/root/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.@-]+")
"""Directories of a person."""
HEADER_BYTES = 100 << 20
"""What the safetensors library takes at most."""


def shipped(run: Run) -> list[Path]:
    """What lies in a run's artifact, links too."""
    return sorted(path for path in run.artifact.rglob("*") if path.is_file() or path.is_symlink())


def kept(run: Run) -> list[Path]:
    """A run's artifact and its checkpoints."""
    saved = (path for path in (run.directory / checkpoints.DIRECTORY).rglob("*") if path.is_file())
    return [*shipped(run), *sorted(saved)]


def records(run: Run) -> list[Path]:
    """What says how a run was made."""
    found = [run.directory / manifest.NAME, run.directory / METRICS]
    return [path for path in found if path.exists()]


def is_pickle(path: Path) -> bool:
    """By its ending, or by how it begins: a pickle, or the archive of one that torch writes."""
    if path.suffix in PICKLES:
        return True
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return PICKLED.match(head) is not None


def texts(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        if path.suffix in TEXT and path.is_file():
            yield path, path.read_text(encoding="utf-8", errors="replace")


def private(paths: Iterable[Path]) -> list[str]:
    """Directories of persons that are named, and in which file."""
    return [f"{found[0]} in {path.name}" for path, text in texts(paths) if (found := PRIVATE.search(text))]


def torn_tensors(path: Path) -> str | None:
    """Why a safetensors file is not just a header and the tensors that it names; None when it is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, HEADER_BYTES):
            return f"its header would be {length:,} bytes long"
        try:
            entries = json.loads(file.read(length))
            spans = sorted(entry["data_offsets"] for name, entry in entries.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "its header cannot be read"
    end = 0
    for begin, stop in spans:
        if begin != end:
            return f"bytes {end:,} to {begin:,} belong to no tensor, or to two"
        end = stop
    left = size - 8 - length - end
    return f"{left:,} bytes belong to no tensor" if left else None
