"""What a sweep was: its points and the runs that they came to, in ``outputs/.sweeps/NAME/sweep.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from albor.errors import AlborError
from albor.runs.files import write_text

FOLDER = ".sweeps"
NAME = "sweep.json"
LOGS = ("logs", "jobs")
"""In a sweep's directory, what its processes had to say and the scripts that started them; a search's study lies beside
them, and is no log."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep's points, in the order in which they were asked for, each with its run."""

    name: str
    command: str
    created: float
    points: tuple[tuple[str, ...], ...]
    """Of each point the overrides that tell it from the others."""
    runs: tuple[str, ...]
    """Each point's run directory below the store, as ``pretrain/tiny-0123456789ab``."""

    def directories(self, store: Path) -> list[Path]:
        """The run directories, each once."""
        return [store / run for run in dict.fromkeys(self.runs)]


def name_of(ids: Sequence[str]) -> str:
    """A sweep's name, by content: the same points are the same sweep, in whatever order they were written."""
    return "sweep-" + hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()[:8]


def folder(store: Path, name: str) -> Path:
    """Where a sweep's record and its launcher's logs lie."""
    return store / FOLDER / name


def save(store: Path, sweep: Sweep) -> None:
    """Atomically."""
    place = folder(store, sweep.name)
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / NAME, json.dumps(asdict(sweep), indent=1) + "\n")


def read(path: Path) -> Sweep:
    """Raises AlborError when the record cannot be read."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        points = tuple(map(tuple, raw.pop("points")))
        return Sweep(**raw | {"points": points, "runs": tuple(raw["runs"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"the sweep's record cannot be read: {error}"
        raise AlborError(cause, "give its command again, which writes it anew", place=str(path)) from None


def recorded(store: Path) -> list[Sweep]:
    """All sweeps of a store, the last one last. Raises AlborError."""
    return sorted(map(read, (store / FOLDER).glob(f"*/{NAME}")), key=lambda sweep: sweep.created)


def latest(store: Path) -> Sweep | None:
    """The sweep that was started last; None where there was none. Raises AlborError."""
    return next(reversed(recorded(store)), None)
