"""What `albor compare` compares: runs found in the store, with their settings, logs, rows and evaluations."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.cli.render import plural
from albor.cli.verbs.runs import status
from albor.config.schema.model import Model
from albor.config.suggest import nearest
from albor.errors import AlborError
from albor.runs import manifest, sweeps
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, InputRef, Manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run, Store
from albor.runs.sweeps import Sweep
from albor.stages import base as stages

if TYPE_CHECKING:
    from albor.report.comparison.model import Entry

TRAINS = ("pretrain", "distill", "finetune")
RECOVERS = "prune"
"""Trains where it has a recovery."""
NO_MODEL = ("rows", "documents", "tokenizer", "teacher", "instructions", "prompts")
"""Inputs upstream of which the compared model is not."""
MOST = 200
"""Runs on a page."""
UNASKED = 50
"""Runs that are compared without being named."""
KEPT = ("git_commit", "git_dirty", "host", "platform", "cpus", "torch", "python")


@dataclass
class Library:
    """The manifests of a store, each read once."""

    store: Store
    read: dict[Path, Manifest | None] = field(default_factory=dict)

    def get(self, directory: Path) -> Manifest | None:
        """None where a run is gone, or is another albor's."""
        place = directory.resolve()
        if place not in self.read:
            try:
                self.read[place] = manifest.load(place)
            except AlborError:
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


@dataclass(frozen=True)
class Chosen:
    """The runs to compare, and how they came to be chosen."""

    name: str
    """Of the page's directory."""
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
    name = words[0] if len(words) == 1 and words[0] in known else f"runs-{_digest(sorted(ids))[:8]}"
    return Chosen(name, list(found.values()), labels)


def _sweep_like(word: str) -> bool:
    return word.startswith("sweep-")


def _all(library: Library) -> Chosen:
    runs = [run for stage in (*TRAINS, RECOVERS) for run in library.stage(stage) if has_loss(run)]
    if not runs:
        cause = "the store holds no run that has logged a loss"
        raise AlborError(cause, "train one first, or name the store: outputs=DIR", place=str(library.store.root))
    if len(runs) > UNASKED:
        cause = f"{plural(len(runs), 'run')} have trained here, and none was named"
        raise AlborError(cause, "name some, or a sweep: albor compare RUN…; `albor runs pretrain` lists them")
    return Chosen("all", runs, {})


def _of_sweep(library: Library, sweep: Sweep) -> list[Run]:
    found: list[Run] = []
    for place in sweep.directories(library.store.root):
        made = library.get(place)
        if made is None:
            print(f"left out: {place.name}: its run was not started, or is gone", file=sys.stderr)
        else:
            found += trained(library, Run(place, made))
    if not found:
        cause = f"none of the {plural(len(sweep.runs), 'run')} of {sweep.name} is there"
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


def entries(library: Library, runs: Sequence[Run]) -> list[Entry]:
    """The runs as the report takes them. Runs without a log are left out, and named. Raises AlborError when all are."""
    from albor.report.comparison.columns import read_columns

    logged = []
    for run in runs:
        if has_loss(run):
            logged.append(run)
        else:
            print(f"left out: {run.directory.name}: {status(run)}, and has logged no loss", file=sys.stderr)
    if not logged:
        cause = f"none of the {plural(len(runs), 'run')} has logged a loss"
        raise AlborError(cause, "wait for the first step, or name others", place=str(library.store.root))
    with ThreadPoolExecutor() as pool:
        columns = list(pool.map(lambda run: read_columns(run.directory / METRICS), logged))
    return [entry(library, run, found) for run, found in zip(logged, columns, strict=True)]


def entry(library: Library, run: Run, columns: Any) -> Entry:
    from albor.cli.watch import total_steps
    from albor.report.comparison.model import DONE, Entry

    made = run.manifest
    rows, documents = validated(library, run)
    now = status(run)
    return Entry(
        id=made.id,
        name=run.directory.name,
        stage=made.stage,
        label=made.label,
        status=now,
        error=(made.error or "").split("\n")[0],
        directory=str(run.directory),
        command=made.command,
        settings=settings(library, run),
        columns=columns,
        planned_steps=None if now == DONE else total_steps(run.directory, made),
        seconds=made.facts.get("seconds"),
        flops_per_token=flops_per_token(made),
        rows=rows,
        documents=documents,
        environment=environment(made),
        tracking=tracked(made),
    )


def settings(library: Library, run: Run) -> dict[str, str]:
    """What determines the run's result. A key of what it was made from is its own where it has that key with the same
    value; otherwise it is said as a command line would: ``up.STAGE.KEY``."""
    found = {"stage": run.manifest.stage, **dict(determining(run.directory, run.manifest))}
    seen = {run.directory.resolve()}
    queue = [run]
    while queue:
        current = queue.pop(0)
        there = library.made(current)
        for name, ref in current.manifest.inputs.items():
            if name not in there:
                found[f"inputs.{name}"] = _short(ref)
        for upstream in there.values():
            if upstream.directory.resolve() not in seen:
                seen.add(upstream.directory.resolve())
                queue.append(upstream)
                for key, value in determining(upstream.directory, upstream.manifest):
                    own = found.setdefault(key, value)
                    if own != value:
                        found.setdefault(f"up.{upstream.manifest.stage}.{key}", value)
    return found


def _short(ref: InputRef) -> str:
    return f"{ref.id} {(ref.digest or '')[:12]}".strip()


@cache
def _reads(stage: str, key: str) -> bool:
    """Whether a key determines the result of a stage, or names what does."""
    if stage not in stages.names():
        return True
    return stages.find(stage).reads_key(key) and (key.endswith(".name") or not stages.is_recorded(key))


_DETERMINING: dict[Path, list[tuple[str, str]]] = {}


def determining(directory: Path, made: Manifest) -> list[tuple[str, str]]:
    """(dotted key, value) of what determines a run's result, and which version of its stage made it."""
    from albor.report.formats import flatten

    place = directory.resolve()
    if place not in _DETERMINING:
        own = [(key, value) for key, value in flatten(made.config) if _reads(made.stage, key) and key != "stage.name"]
        identity = [(f"{made.stage}.{key}", value[:16]) for key, value in made.identity.items()]
        _DETERMINING[place] = [*own, *identity, (f"{made.stage} version", str(made.version))]
    return _DETERMINING[place]


def validated(library: Library, run: Run) -> tuple[str, str]:
    """What the run was validated on: (its rows and how much is read of them, the documents that they were made of and
    what made them rows)."""
    config, ref = run.manifest.config, run.manifest.inputs.get("rows")
    if ref is None:
        return "", ""
    rows = library.made(run).get("rows")
    reads = [str(config.get("data", {}).get("seq_len")), str(config.get("trainer", {}).get("val_rows"))]
    made = library.made(rows).get("documents") if rows else None
    documents = rows.manifest.inputs.get("documents") if rows else None
    texts = _digest([ref.stage, *held_out(made, documents)]) if documents else ""
    return _digest([*held_out(rows, ref), *reads]), texts


def held_out(made: Run | None, ref: InputRef | None) -> list[str]:
    """Hashes of the validation files that a run made; where it is gone, that of all it made."""
    files = [file.sha256 for name, file in made.manifest.files.items() if name.startswith("val-")] if made else []
    return files or ([ref.digest or ref.id] if ref else [])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def flops_per_token(made: Manifest) -> int | None:
    """By the formula of the throughput meter; a pruned model has fewer parameters than its config says."""
    try:
        model = Model(**made.config["model"])
        flops = model.flops_per_token(int(made.config["data"]["seq_len"]))
    except (KeyError, TypeError, ValueError):
        return None  # a config of another albor's
    return int(flops + 6 * (made.facts.get("parameters", model.num_parameters) - model.num_parameters))


def environment(made: Manifest) -> dict[str, str]:
    config, known = made.config, made.environment
    trainer = config.get("trainer", {})
    devices = trainer.get("devices", 1) * trainer.get("nodes", 1)
    hardware = str(config.get("hardware", {}).get("name", ""))
    return {
        "hardware": f"{devices} × {hardware}" if devices > 1 else hardware,
        **{key: str(known[key]) for key in KEPT if known.get(key) is not None},
    }


def tracked(made: Manifest) -> tuple[str, str]:
    """(project, entity) of W&B that the run logs to; no entity is the user's own."""
    tracking = made.config.get("tracking", {})
    return str(tracking.get("project", "albor")), str(tracking.get("entity") or "")
