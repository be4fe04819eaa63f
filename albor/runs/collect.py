"""What nothing in a store refers to any more.

A run directory is kept or freed whole. Kept are the runs that somebody asked for or works on, and all that these were
made from; ``decide`` has the rules. ``trash.py`` frees.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from albor.errors import AlborError
from albor.runs import evaluations, sweeps
from albor.runs.checkpoints import DIRECTORY, REMOVING, WRITING
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, NAME, Manifest, load
from albor.runs.store import LOCK, PARTIAL, WORK, Run, held
from albor.runs.trash import FREED, Item, trashes

DAY = 86_400.0
MOMENT = 3_600.0
"""Seconds after which a temporary file outside of any held run is a dead process's."""
SHOWN = 5
"""Runs that an error names."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is kept."""

    days: float
    """Age from which unfinished runs, and logs of sweeps, are freed."""
    is_target: Callable[[Manifest], bool]
    """Whether what a finished run made is kept for itself, whoever asked for it: a model, an evaluation, a page."""
    surplus: Callable[[Run], Sequence[Path]]
    """Checkpoints of a finished run that are not to be kept."""
    now: float = field(default_factory=time.time)


@dataclass
class Graph:
    """The runs of a store, and which was made from which."""

    root: Path
    runs: dict[Path, Run] = field(default_factory=dict)
    needs: dict[Path, set[Path]] = field(default_factory=dict)
    """Run directory to those that it was made from, or is to be; also of runs of stores within this one, and of what
    cannot be read."""
    opened: set[Path] = field(default_factory=set)
    """Runs of which another takes a part as a directory: a checkpoint."""
    points: dict[str, set[str]] = field(default_factory=dict)
    """Of each sweep the runs that it asked for, as STAGE/LABEL-ID; the others were made on the way to them."""
    blind: bool = False
    """Whether a manifest that this version cannot read does not even tell what its run was made from."""

    @staticmethod
    def of(root: Path) -> Graph:
        graph, refs = Graph(root, points=points_of(root)), dict[Path, list[tuple[str, Path]]]()
        for depth in ("*/*", "*/*/*"):
            for path in root.glob(f"{depth}/{NAME}"):
                if path.relative_to(root).parts[0].startswith("."):
                    continue
                place = path.parent.resolve()
                try:
                    run = load(path.parent)
                except AlborError:
                    named = named_by(path)
                    graph.blind |= named is None
                    refs[place] = named or []
                    continue
                refs[place] = [(ref.stage, input_path(path.parent, ref)) for ref in run.inputs.values()]
                if depth == "*/*":
                    graph.runs[place] = Run(path.parent, run)
        for place, inputs in refs.items():
            graph.needs[place] = set()
            for stage, path in inputs:
                around = next((p for p in path.resolve().parents if p in graph.runs), None) if stage != "hub" else None
                if around is not None and around != place:
                    graph.needs[place].add(around)
                    graph.opened |= {around} if stage in EXTERNAL else set()
        return graph

    def closure(self, roots: Iterable[Path], edges: Mapping[Path, set[Path]] | None = None) -> set[Path]:
        """The roots and all that they were made from."""
        along = self.needs if edges is None else edges
        found, waiting = set(roots), list(roots)
        while waiting:
            fresh = along.get(waiting.pop(), set()) - found
            found |= fresh
            waiting += fresh
        return found

    @property
    def takers(self) -> dict[Path, set[Path]]:
        """Run directory to those that were made from it."""
        turned: dict[Path, set[Path]] = {}
        for place, above in self.needs.items():
            for each in above:
                turned.setdefault(each, set()).add(place)
        return turned


def points_of(root: Path) -> dict[str, set[str]]:
    """By a sweep's name. One whose record cannot be read is not there, and all of its runs count as asked for."""
    found = {}
    for path in (root / sweeps.FOLDER).glob(f"*/{sweeps.NAME}"):
        with suppress(AlborError):
            found[path.parent.name] = set(sweeps.read(path).runs)
    return found


def named_by(path: Path) -> list[tuple[str, Path]] | None:
    """The inputs of a manifest of another version, as far as it tells; None when it does not."""
    try:
        raw: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        return [(str(ref["stage"]), path.parent / str(ref["path"])) for ref in raw["inputs"].values()]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None


# --- what to free ---


def decide(graph: Graph, rules: Rules) -> list[Item]:
    """What nothing refers to: the largest last.

    Kept are finished targets (``Rules.is_target``, and what was asked for by itself), unfinished runs that are younger
    than ``Rules.days`` or that a process holds, what cannot be read, and all that these were made from.
    """
    reasons = {place: reason(run, graph, rules) for place, run in graph.runs.items()}
    roots = {place for place in graph.needs if reasons.get(place) is None}
    kept = graph.closure(graph.needs if graph.blind else roots)
    items = [whole(graph.runs[place], why) for place, why in reasons.items() if why is not None and place not in kept]
    for place in kept & graph.runs.keys():
        run = graph.runs[place]
        if not run.directory.is_symlink() and not held(run.directory):
            items += leftovers(run, graph, rules)
    return sorted([*items, *of_store(graph.root, rules)], key=lambda item: item.bytes)


def reason(run: Run, graph: Graph, rules: Rules) -> str | None:
    """Why a run is not kept for its own sake; None when it is."""
    made = run.manifest
    if run.directory.is_symlink() or held(run.directory):
        return None
    if made.status == "done":
        kept = was_asked_for(run, graph) or rules.is_target(made)
        return None if kept else f"no run that is kept is made from its {made.stage}"
    age = (rules.now - last_sign(run)) / DAY
    return f"{made.status}, without a sign of life for {age:,.0f} days" if age > rules.days else None


def was_asked_for(run: Run, graph: Graph) -> bool:
    """Whether a command or a sweep named it, and it was not only made on the way to what was."""
    title, group = f"{run.manifest.stage}/{run.directory.name}", run.manifest.group
    if group in graph.points:
        return title in graph.points[group]
    return group in ("", title) or "/" not in group


def last_sign(run: Run) -> float:
    """When something of a run was written last, as its manifest and its files' times say."""
    made = run.manifest
    times = [made.created, made.started or 0.0, made.finished or 0.0]
    with suppress(OSError):
        times += [entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(run.directory)
                  if entry.name != LOCK]  # fmt: skip
    return max(time for time in times if math.isfinite(time))


def leftovers(run: Run, graph: Graph, rules: Rules) -> Iterator[Item]:
    """Within a kept run that nobody holds: what attempts left that can be of no use to a next one."""
    place, done = run.directory, run.manifest.status == "done"
    yield from there(place / PARTIAL, "an artifact that was not finished", place)
    if done:
        yield from there(place / WORK, "parts of an artifact that is whole", place)
    for folder in (place, place / DIRECTORY):
        for path in folder.glob(".*.tmp"):
            if older(path, MOMENT, rules):
                yield from there(path, "written by a process that is gone", place)
    for begun in (WRITING, REMOVING):
        for path in (place / DIRECTORY).glob(f"{begun}*"):
            yield from there(path, "half of a checkpoint", place)
    for name in (evaluations.HELD, f".{evaluations.BEST}.new", f".{evaluations.BEST}.old"):
        if older(place / name, rules.days * DAY, rules):
            yield from there(place / name, "held by an `albor watch` that is gone", place)
    if done and place.resolve() not in graph.opened:
        for path in rules.surplus(run):
            yield from there(path, "more checkpoints of a finished run than are to be kept", place)


def of_store(root: Path, rules: Rules) -> Iterator[Item]:
    """What belongs to no run: trash of a gc that was killed, logs of old sweeps, directories that were never filled."""
    for trash in sorted(trashes(root)):
        for path in sorted((trash / FREED).glob("*")):
            yield Item(path, size_of(path), "left by an `albor gc` that was killed", None)
    for path in root.glob(".albor-*"):
        if older(path, MOMENT, rules):
            yield Item(path, size_of(path), "written by a process that is gone", None)
    for place in sorted((root / sweeps.FOLDER).glob("*")):
        for name in sweeps.LOGS:
            if older(place / name, rules.days * DAY, rules) and not held(place):
                yield Item(place / name, size_of(place / name), f"logs and scripts of {place.name}", place)
    for path in root.glob("*/*-*"):
        if never_filled(path) and older(path, rules.days * DAY, rules) and not held(path):
            yield Item(path, size_of(path), "a run directory that was never filled", path)


def never_filled(path: Path) -> bool:
    """Whether a directory that is called like a run's holds nothing but what comes before a manifest."""
    if path.is_symlink() or not path.is_dir() or path.parent.name.startswith("."):
        return False
    return all(entry.name == LOCK or entry.name.endswith(".tmp") for entry in path.iterdir())


def there(path: Path, why: str, run: Path) -> Iterator[Item]:
    if path.exists() or path.is_symlink():
        yield Item(path, size_of(path), why, run)


def whole(run: Run, why: str) -> Item:
    return Item(run.directory, size_of(run.directory), why, run.directory, run.manifest)


def older(path: Path, seconds: float, rules: Rules) -> bool:
    """Whether nothing in ``path`` was written within so many seconds; False when it is not there."""
    try:
        times = [path.lstat().st_mtime, *(below.lstat().st_mtime for below in path.rglob("*"))]
    except OSError:
        return False
    return rules.now - max(times) > seconds


def size_of(path: Path) -> int:
    """Bytes that go with it: a file that has another name elsewhere as well gives nothing back."""
    paths = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    links: dict[tuple[int, int], list[int]] = {}
    for each in paths:
        with suppress(OSError):
            status = each.lstat()
            if stat.S_ISREG(status.st_mode):
                links.setdefault((status.st_dev, status.st_ino), [status.st_size, status.st_nlink])[1] -= 1
    return sum(size for size, elsewhere in links.values() if elsewhere <= 0)


# --- what was named ---


def named(graph: Graph, chosen: Sequence[Run], rules: Rules, *, down: bool) -> list[Item]:
    """The runs that were named, and what only they were made from. Raises AlborError when one is held, or needed by a
    run that would be kept; with ``down`` what was made from them goes with them."""
    wanted = {run.directory.resolve() for run in chosen}
    if down:
        wanted = graph.closure(wanted, graph.takers)
    above = graph.closure(wanted) - wanted
    others = {place for place in above if graph.blind or reason(graph.runs[place], graph, rules) is None}
    kept = graph.closure((graph.needs.keys() - wanted - above) | others)
    for place in sorted(wanted):
        refuse_needed(place, graph, graph.takers.get(place, set()) - wanted)
    items = [whole(graph.runs[place], "named") for place in wanted]
    items += [whole(graph.runs[place], "only what was named is made from it") for place in above - kept]
    return sorted(items, key=lambda item: item.bytes)


def refuse_needed(place: Path, graph: Graph, takers: set[Path]) -> None:
    """Raises AlborError when a run is held, cannot be read here, or is what others are made from."""
    if place not in graph.runs:
        cause = "this run is of another store, or its manifest cannot be read"
        raise AlborError(cause, "`albor gc` of its own store, or remove the directory by hand", place=str(place))
    if held(place):
        raise AlborError("a process is working on this run", "wait for it, or stop it", place=str(place))
    if takers:
        shown = ", ".join(f"{p.parent.name}/{p.name}" for p in sorted(takers)[:SHOWN])
        more = f" and {len(takers) - SHOWN} more" if len(takers) > SHOWN else ""
        fix = "name these too, or add --down, which frees all that was made from it"
        raise AlborError(f"{place.parent.name}/{place.name} is what {shown}{more} was made from", fix, place=str(place))
