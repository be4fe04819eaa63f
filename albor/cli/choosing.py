"""Which runs `albor compare` compares: what is named, what trained it, and the manifests of its store."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from albor.cli.render import plural
from albor.config.location import short
from albor.config.suggest import nearest
from albor.errors import AlborError
from albor.runs import manifest, sweeps
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, Manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run, Store
from albor.runs.sweeps import Sweep

TRAINS = ("pretrain", "distill", "finetune")
RECOVERS = "prune"
"""Trains where it has a recovery."""
NO_MODEL = ("rows", "documents", "tokenizer", "teacher", "instructions", "prompts")
"""Inputs upstream of which the compared model is not."""
MOST = 200
"""Runs on a page."""
UNASKED = 50
"""Runs that are compared without being named."""


@dataclass
class Library:
    """The manifests of a store, each read once."""

    store: Store
    read: dict[Path, Manifest | None] = field(default_factory=dict)
    determining: dict[Path, list[tuple[str, str]]] = field(default_factory=dict)
    """What is known of the settings of runs: many are upstream of several."""

    def get(self, directory: Path) -> Manifest | None:
        """None where a run is gone, or cannot be read, which is said."""
        place = directory.resolve()
        if place not in self.read:
            try:
                self.read[place] = manifest.load(place) if present(place) else None
            except AlborError as error:
                print(f"left out: {short(place)}: {error.cause}", file=sys.stderr)
                self.read[place] = None
        return self.read[place]

    def stage(self, name: str) -> list[Run]:
        """The runs of one stage, oldest first."""
        found = [path.parent for path in self.store.root.glob(f"{name}/*/{manifest.NAME}")]
        runs = [Run(place, made) for place in found if (made := self.get(place)) is not None]
        return sorted(runs, key=lambda run: run.manifest.created)

    def made(self, run: Run) -> dict[str, Run]:
        """The runs that made a run's inputs, as far as they are still there, by the name of the input."""
        found = {}
        for name, ref in run.manifest.inputs.items():
            if ref.stage not in EXTERNAL:
                place = input_path(run.directory, ref).parent
                if (known := self.get(place)) is not None:
                    found[name] = Run(place, known)
        return found

    @cached_property
    def evaluating(self) -> list[Run]:
        return sorted([*self.stage("generate"), *self.stage("eval")], key=lambda run: run.manifest.created)


def present(directory: Path) -> bool:
    """Whether there is a run."""
    return (directory / manifest.NAME).exists()


@dataclass(frozen=True)
class Chosen:
    """The runs to compare, and how they came to be chosen."""

    name: str
    """Of the page's directory."""
    words: Sequence[str]
    """What chooses the same again."""
    runs: Sequence[Run]
    labels: dict[str, str]
    """Run id to what the sweep changed, without the seed."""


def choose(library: Library, words: Sequence[str]) -> Chosen:
    """The runs that are named, of a sweep or one by one; without words the latest sweep's, or all that trained.
    Raises AlborError."""
    root = library.store.root
    if not words:
        latest = sweeps.latest(root)
        if latest is None:
            return _all(library)
        words = [latest.name]
    found: dict[Path, Run] = {}
    labels: dict[str, str] = {}
    known = {sweep.name: sweep for sweep in (sweeps.recorded(root) if any(map(_sweep_like, words)) else [])}
    for word in words:
        if word in known:
            runs = _of_sweep(library, known[word])
            labels |= _labels(known[word])
        elif _sweep_like(word):
            guess = nearest(word, known)
            fix = f"did you mean {guess}?" if guess else "its sweeps are " + (", ".join(known) or "none")
            raise AlborError(f"there is no sweep '{word}'", fix, place=str(root / sweeps.FOLDER))
        else:
            runs = trained(library, library.store.find(word))
        found |= {run.directory.resolve(): run for run in runs}
    if len(found) > MOST:
        cause = f"{len(found):,} runs are more than a page of curves can hold apart"
        raise AlborError(cause, f"name at most {MOST}: albor compare RUN…; `albor runs pretrain` lists them")
    ids = [run.manifest.id for run in found.values()]
    name = words[0] if len(words) == 1 and words[0] in known else f"runs-{digest(sorted(ids))[:8]}"
    return Chosen(name, words, list(found.values()), labels)


def _sweep_like(word: str) -> bool:
    return word.startswith(("sweep-", "search-"))


def _all(library: Library) -> Chosen:
    runs = [run for stage in (*TRAINS, RECOVERS) for run in library.stage(stage) if has_loss(run)]
    if not runs:
        cause = "the store holds no run that has logged a loss"
        raise AlborError(cause, "train one first, or name the store: outputs=DIR", place=str(library.store.root))
    if len(runs) > UNASKED:
        cause = f"{plural(len(runs), 'run')} have trained here, and none was named"
        raise AlborError(cause, "name some, or a sweep: albor compare RUN…; `albor runs pretrain` lists them")
    return Chosen("all", [run.directory.name for run in runs], runs, {})


def _of_sweep(library: Library, sweep: Sweep) -> list[Run]:
    found: list[Run] = []
    for place in sweep.directories(library.store.root):
        made = library.get(place)
        if made is not None:
            found += trained(library, Run(place, made))
        elif not present(place):
            print(f"left out: {place.name}: its run was not started, or is gone", file=sys.stderr)
    if not found:
        cause = f"none of the {plural(len(sweep.runs), 'run')} of {sweep.name} can be compared"
        raise AlborError(cause, f"give its command again: {sweep.command}", place=str(library.store.root))
    return found


def _labels(sweep: Sweep) -> dict[str, str]:
    """A run's id to its point's overrides, without the seed; keys by their last part, where that tells them apart."""
    from albor.report.comparison.grouping import is_seed, short_names

    told = [[word.lstrip("+").partition("=") for word in point] for point in sweep.points]
    names = short_names(dict.fromkeys(key for point in told for key, _, _ in point))
    found: dict[str, str] = {}
    for run, point in zip(sweep.runs, told, strict=True):
        label = " ".join(f"{names[key]}{sign}{value}" for key, sign, value in point if not is_seed(key))
        found.setdefault(run.rpartition("-")[2], label)
    return found


def has_loss(run: Run) -> bool:
    path = run.directory / METRICS
    if not path.is_file():
        return False
    with path.open("rb") as file:  # the first row may be of validation, or an alert
        return b'loss"' in file.read(1 << 16)


def trained(library: Library, run: Run) -> list[Run]:
    """The run itself where it trains, else those that trained the models that it is about. Raises AlborError."""
    found = list(_trained(library, run, set()))
    if not found:
        cause = f"{run.manifest.stage}/{run.directory.name} did not train, and no run that did is upstream of it"
        raise AlborError(cause, "`albor runs pretrain` lists runs that trained", place=str(run.directory))
    return found


def _trained(library: Library, run: Run, seen: set[Path]) -> Iterator[Run]:
    if run.directory.resolve() in seen:
        return
    seen.add(run.directory.resolve())
    if run.manifest.stage in TRAINS or (run.manifest.stage == RECOVERS and has_loss(run)):
        yield run
        return
    for name, made in library.made(run).items():
        if name not in NO_MODEL:
            yield from _trained(library, made, seen)


def digest(parts: Sequence[str]) -> str:
    """SHA-256 over several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
