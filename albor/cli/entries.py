"""Runs of the store as the report compares them: their settings, logs, validation rows and machines."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from albor.cli.choosing import Library, digest, has_loss
from albor.cli.render import plural
from albor.cli.verbs.runs import status
from albor.config.schema.model import Model
from albor.errors import AlborError
from albor.runs.manifest import InputRef, Manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run
from albor.stages import base as stages

if TYPE_CHECKING:
    from albor.report.comparison.columns import Columns
    from albor.report.comparison.model import Entry

KEPT = ("git_commit", "git_dirty", "albor", "host", "platform", "cpus", "torch", "python")
"""Of the environment: what the numbers may depend on."""


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


def entry(library: Library, run: Run, columns: Columns) -> Entry:
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
        finals=finals(made) if now == DONE else {},
        planned_steps=None if now == DONE else total_steps(run.directory, made),
        seconds=made.seconds,
        flops_per_token=flops_per_token(made),
        rows=rows,
        documents=documents,
        environment=environment(made),
        tracking=tracked(made),
    )


def finals(made: Manifest) -> dict[str, float]:
    """The last values of metrics, as a finished run recorded them."""
    from albor.report.comparison.model import FINALS

    known = {key: made.facts.get(key) for key in FINALS}
    return {key: value for key, value in known.items() if isinstance(value, float | int) and math.isfinite(value)}


def settings(library: Library, run: Run) -> dict[str, str]:
    """What determines the run's result. A key of what it was made from is its own where it has that key with the same
    value; otherwise it is said as a command line would: ``up.STAGE.KEY``."""
    found = {"stage": run.manifest.stage, **dict(determining(library, run))}
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
                for key, value in determining(library, upstream):
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


def determining(library: Library, run: Run) -> list[tuple[str, str]]:
    """(dotted key, value) of what determines a run's result, and which version of its stage made it."""
    from albor.report.formats import flatten

    place, made = run.directory.resolve(), run.manifest
    if place not in library.determining:
        own = [(key, value) for key, value in flatten(made.config) if _reads(made.stage, key) and key != "stage.name"]
        identity = [(f"{made.stage}.{key}", value[:16]) for key, value in made.identity.items()]
        library.determining[place] = [*own, *identity, (f"{made.stage} version", str(made.version))]
    return library.determining[place]


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
    texts = digest([ref.stage, *held_out(made, documents)]) if documents else ""
    return digest([*held_out(rows, ref), *reads]), texts


def held_out(made: Run | None, ref: InputRef | None) -> list[str]:
    """Hashes of the validation files that a run made; where it is gone, that of all it made."""
    files = [file.sha256 for name, file in made.manifest.files.items() if name.startswith("val-")] if made else []
    return files or ([ref.digest or ref.id] if ref else [])


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
