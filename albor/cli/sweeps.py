"""Running a sweep: every point planned, what they share built once, then the points, wherever they are to run."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments
from albor.cli.points import one_by_one, side_by_side
from albor.cli.render import paint, plural, show_findings_of, show_problems, table
from albor.cli.upstream import able, build_here, build_there, elsewhere, last, shared
from albor.cli.verbs.runs import notable, status
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.run import SlurmExecutor
from albor.config.schema.sweep import BasicLauncher, Launcher, SlurmLauncher
from albor.errors import GOES_ON, INTERRUPTED, AlborError
from albor.plan import sweep
from albor.plan.apply import check_machine, prepare
from albor.plan.nodes import Plan, Planner
from albor.runs import manifest, sweeps
from albor.runs.lineage import failure
from albor.runs.store import Run, exclusive, writable

if TYPE_CHECKING:
    from albor.executors.jobs import Shape


def run_sweep(planner: Planner, arguments: Arguments, asked: sweep.Settings) -> int:
    """Plans all points, builds what they share, and has the launcher run them. Exit code as for one target."""
    expanded = sweep.points(planner, arguments.overrides)
    planned = sweep.preflight(planner, expanded)
    code = refuse(planned, len(expanded), strict=arguments.strict)
    if code:
        return code
    plans = list({plan.texts: plan for plan in planned.plans}.values())
    todo = [p for p in plans if p.target.state != "done"]
    print(f"{plural(len(plans), 'point')}: {len(todo)} to run, {len(plans) - len(todo)} done", file=sys.stderr)
    store = one_store(plans)
    record = recorded(plans, arguments)
    place = sweeps.folder(store, record.name)
    for plan in todo:
        refuse_stage_jobs(plan, asked.launcher)
        check_machine(plan, elsewhere=elsewhere(asked.launcher))
    writable(store)
    with exclusive(place, "sweep"):
        for plan in todo:
            prepare(plan, group=record.name, shared=True)
        begun = partial(sweeps.save, store, record)
        if todo:
            code = run_points(todo, asked.launcher, place, begun, fail_fast=arguments.fail_fast)
        else:
            begun()
    summarized = summarize(plans, record)
    if code == INTERRUPTED:
        print(GOES_ON, file=sys.stderr)
    return code or summarized


def one_store(plans: Sequence[Plan]) -> Path:
    """Where all points write. Raises ConfigRefused when that is several places."""
    first, *others = dict.fromkeys(plan.target.config.outputs for plan in plans)
    if others:
        cause = f"the points of a sweep lie in one store, not in {first} and {others[0]}"
        fix = "give outputs one value; two stores are two commands"
        raise ConfigRefused([Problem("E-OVERRIDE", "outputs", cause, fix)])
    return Path(first)


def command_of(arguments: Arguments) -> str:
    """The command line that a sweep was started with."""
    where = [word for directory in arguments.config_dirs for word in ("--config-dir", directory)]
    flags = [f"--{name.replace('_', '-')}" for name in ("fail_fast", "strict") if getattr(arguments, name)]
    return shlex.join(["python", "-m", "albor", "-m", *where, *flags, *arguments.overrides])


def recorded(plans: Sequence[Plan], arguments: Arguments) -> sweeps.Sweep:
    common = set.intersection(*(set(plan.texts) for plan in plans))
    return sweeps.Sweep(
        name=sweeps.name_of([plan.target.id for plan in plans]),
        command=command_of(arguments),
        created=time.time(),
        points=tuple(tuple(text for text in plan.texts if text not in common) for plan in plans),
        runs=tuple(f"{plan.target.stage.name}/{plan.target.directory.name}" for plan in plans),
    )


def refuse(planned: sweep.Sweep, total: int, *, strict: bool) -> int:
    """Shows what is wrong with the sweep's points, each thing once; 2 when it must not start."""
    every = [*(texts for texts, _ in planned.refused), *(plan.texts for plan in planned.plans)]
    common = set.intersection(*map(set, every))

    def name(texts: Sequence[str]) -> str:
        return " ".join(text for text in texts if text not in common) or " ".join(texts)

    problems: dict[tuple[Problem, ...], list[str]] = {}
    for texts, found in planned.refused:
        problems.setdefault(tuple(found), []).append(name(texts))
    for same, where in problems.items():
        show_point(where)
        show_problems(same)
    bad = [p for p in planned.plans if p.errors]
    errors: dict[tuple[str, ...], list[Plan]] = {}
    for plan in bad:
        errors.setdefault(tuple(str(f) for _, f in plan.errors), []).append(plan)
    for alike in errors.values():
        show_point([name(p.texts) for p in alike])
        show_findings_of(alike[0].errors)
    warnings = {f: n for p in planned.plans for n, f in p.warnings}
    show_findings_of([(n, f) for f, n in warnings.items()])
    count = len(planned.refused) + len(bad)
    if count:
        print(f"refused: {count:,} of {plural(total, 'point')}; nothing was started", file=sys.stderr)
    elif warnings and strict:
        print("refused: warnings (--strict); nothing was started", file=sys.stderr)
    return 2 if count or (warnings and strict) else 0


def show_point(points: Sequence[str]) -> None:
    more = f" (and {plural(len(points) - 1, 'more point')})" if len(points) > 1 else ""
    print(paint(f"{points[0]}{more}", "bold", stream=sys.stderr), file=sys.stderr)


def refuse_stage_jobs(plan: Plan, launcher: Launcher) -> None:
    """Raises AlborError when a point's stages would run here though Slurm is asked for."""
    if isinstance(plan.target.config.executor, SlurmExecutor) and not isinstance(launcher, SlurmLauncher):
        cause = "executor=slurm makes a job of each stage of one target; the points of a sweep would run here"
        place = plan.target.origins.find("executor.kind")
        raise AlborError(cause, "add hydra/launcher=submitit_slurm", place=place)


def run_points(
    plans: Sequence[Plan], launcher: Launcher, place: Path, begun: Callable[[], None], *, fail_fast: bool
) -> int:
    """Runs planned points, each once, after what they share. 75 when that was interrupted, else 0: what failed of them
    is seen in the runs. ``begun`` is called as soon as they cannot be refused any more: on a cluster, when it has taken
    the first jobs."""
    first = shared(plans)
    there = elsewhere(launcher)
    if not there:
        begun()
    code = 0 if there else build_here(last(first), fail_fast=fail_fast)
    if code or isinstance(launcher, BasicLauncher):
        return code or one_by_one(able(plans, first, fail_fast=fail_fast), fail_fast=fail_fast)
    from albor.executors.launchers import open_jobs

    with open_jobs(launcher, directory=place / "jobs", shape=shape(plans)) as jobs:
        if there:
            code = build_there(last(first), jobs, place, begun, fail_fast=fail_fast)
        return code or side_by_side(able(plans, first, fail_fast=fail_fast), jobs, place, begun, fail_fast=fail_fast)


def shape(plans: Sequence[Plan]) -> Shape:
    """What a job must have for the largest of the points' trainings."""
    from albor.executors.jobs import Shape

    nodes = [node for plan in plans for node in plan.nodes if node.state != "done"]
    trainers = [node.config.trainer for node in nodes if node.stage.distributed]
    on_cuda = [n for n in nodes if n.stage.accelerated and n.config.trainer.accelerator == "cuda"]
    return Shape(
        nodes=max((t.nodes for t in trainers), default=1),
        processes=max((t.devices for t in trainers), default=1),
        gpus=max((n.config.trainer.devices if n.stage.distributed else 1 for n in on_cuda), default=0),
    )


def summarize(plans: Sequence[Plan], record: sweeps.Sweep) -> int:
    """What every point came to, by what tells it from the others. 1 when one is not done."""
    found = [Run(plan.target.directory, manifest.load(plan.target.directory)) for plan in plans]
    bad = sum(run.manifest.status != "done" for run in found)
    rows = [
        [" ".join(point) or "–", run.directory.name, status(run), came_to(run)]
        for point, run in zip(record.points, found, strict=True)
    ]
    with suppress(BrokenPipeError):  # who closes the pipe has seen enough, and is still told by the code
        print(table([["point", "run", "status", "facts"], *rows]))
    compare = f"; `albor compare {record.name}`" if any(run.manifest.started for run in found) else ""
    print(f"{len(plans) - bad} of {plural(len(plans), 'point')} done{compare}", file=sys.stderr)
    return 1 if bad else 0


def came_to(run: Run) -> str:
    """What is to be said of a run in a few words; of one that could not begin, what it needs and has failed."""
    above = failure(run.directory) if run.manifest.status == "planned" else None
    return f"{above.manifest.stage}/{above.directory.name}: {notable(above)}" if above else notable(run)
