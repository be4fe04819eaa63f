"""``albor watch RUN [task=…]``: evaluate each new checkpoint of a training run, beside it or on another machine."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from albor.cli.arguments import Arguments, bad
from albor.cli.session import planner
from albor.cli.verbs import eval as evaluation
from albor.cli.verbs import run as target
from albor.config.suggest import nearest
from albor.contracts.base import TRAINING
from albor.errors import AlborError
from albor.runs import evaluations, manifest
from albor.runs.checkpoints import DIRECTORY, numbered
from albor.runs.store import Run, Store, holder, lives

LOWER = ("val_ppl", "val_loss", "val_bits_per_byte", "val_byte_ppl", "perplexity")
"""Metrics, or their endings, of which less is better."""
DEFAULT = "val_ppl"


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor watch` takes one training run", "albor watch RUN [task=[perplexity,humaneval]]")
    if arguments.every <= 0 or (arguments.patience is not None and arguments.patience < 1):
        raise bad("--every takes seconds above 0, --patience a number of checkpoints from 1 on", None)
    found = Store(evaluation.store_of(arguments) or Path("outputs")).find(arguments.words[0])
    if found.manifest.stage not in TRAINING:
        cause = f"this is a run of {found.manifest.stage}, which has no checkpoints"
        raise AlborError(cause, "name a run that trains", place=str(found.directory))
    with suppress(KeyboardInterrupt):
        return follow(found, arguments)
    print("no longer watched; the training goes on", file=sys.stderr)
    return 0


def follow(found: Run, arguments: Arguments) -> int:
    """Evaluates what is not evaluated yet until the run has ended, or no longer improves."""
    directory, gone = found.directory, set[int]()  # checkpoints that an ended run has, and nobody can read
    while True:
        ended = over(directory)
        known = gone | {entry["checkpoint"] for entry in evaluations.read(directory)}
        fresh = [(step, path) for step, path in reversed(numbered(directory / DIRECTORY)) if step not in known]
        for step, path in fresh:
            try:
                held = evaluations.hold(directory, path)
            except OSError as error:  # the training may have removed it meanwhile
                evaluations.release(directory / evaluations.HELD / path.name)
                if ended:
                    gone.add(step)
                    print(f"step {step:,} is passed over: {error}", file=sys.stderr)
                continue
            try:
                if code := one(directory, step, held, arguments):
                    return code
            finally:
                evaluations.release(held)
            if arguments.patience and without_improvement(directory, arguments.metric) >= arguments.patience:
                return stop(directory, arguments.patience)
        if ended and not fresh:
            return 0
        time.sleep(0 if ended else arguments.every)


def over(directory: Path) -> bool:
    """Whether no checkpoint will come any more."""
    now = manifest.load(directory)
    return now.status in ("done", "failed", "interrupted") or (
        now.status == "running" and lives(directory, now) is False
    )


def one(directory: Path, step: int, held: Path, arguments: Arguments) -> int:
    """Evaluates one checkpoint."""
    overrides = evaluation.overrides_for(arguments, held)
    plan = planner(arguments).plan(overrides)
    print(f"step {step:,}", file=sys.stderr)
    if code := target.run(replace(arguments, verb=None, words=[], overrides=overrides)):
        return code
    metrics = numbers(manifest.load(plan.target.directory).facts)
    metric = chosen(metrics, arguments.metric)
    before = [entry[metric] for entry in evaluations.read(directory) if metric in entry]
    evaluations.add(directory, step, plan.target.name, metrics)
    if not before or better(metric, metrics[metric], before):
        evaluations.keep_best(directory, held)
        print(f"step {step:,} is the best so far: {metric} {metrics[metric]:.4g}", file=sys.stderr)
    return 0


def numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    """An evaluation's facts as single numbers: val_ppl, humaneval/pass@1."""
    found = {key: float(value) for key, value in facts.items() if key.startswith("val_")}
    for task, scores in facts.get("scores", {}).items():
        values = {k: v["value"] for k, v in scores.items() if isinstance(v, dict) and "value" in v}
        found |= {f"{task}/{metric}": float(value) for metric, value in values.items()}
    return found


def chosen(metrics: Mapping[str, float], wanted: str | None) -> str:
    """The metric that decides: the one asked for, else perplexity, else the first. Raises AlborError."""
    if not metrics:
        raise AlborError("the evaluation has no score to compare checkpoints by", "add a task: task=[perplexity,…]")
    if wanted is None:
        return DEFAULT if DEFAULT in metrics else next(iter(metrics))
    if wanted not in metrics:
        guess = nearest(wanted, list(metrics))
        fix = f"did you mean --metric {guess}? " if guess else ""
        raise AlborError(f"the evaluation has no metric '{wanted}'", f"{fix}There are {', '.join(metrics)}")
    return wanted


def better(metric: str, value: float, others: list[float]) -> bool:
    """Whether the value beats all others."""
    return value < min(others) if metric.endswith(LOWER) else value > max(others)


def without_improvement(directory: Path, wanted: str | None) -> int:
    """Evaluations since the best one."""
    if not (entries := evaluations.read(directory)):
        return 0
    metric = chosen({k: v for k, v in entries[-1].items() if k not in evaluations.ABOUT}, wanted)
    values = [entry[metric] for entry in entries if metric in entry]
    best = min(values) if metric.endswith(LOWER) else max(values)
    return len(values) - 1 - values.index(best)


def stop(directory: Path, patience: int) -> int:
    """Asks the training to save and end."""
    now, pid = manifest.load(directory), holder(directory)
    print(f"no improvement over {patience} checkpoints", file=sys.stderr)
    if over(directory) or pid is None:
        return 0
    if now.environment.get("host") != platform.node():
        cause = f"the training runs on {now.environment.get('host')}, and cannot be stopped from here"
        raise AlborError(cause, f"stop it there: kill -INT {pid}", place=str(directory))
    os.kill(pid, signal.SIGINT)
    print(f"the training saves and ends; its best checkpoint is {directory / evaluations.BEST}", file=sys.stderr)
    return 0
