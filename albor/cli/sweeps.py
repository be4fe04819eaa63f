"""Running a sweep: every point planned, what they share built once, then the points, wherever they are to run."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments
from albor.cli.job import announce
from albor.cli.render import paint, plural, show_error, show_findings_of, show_problems, table
from albor.cli.verbs.runs import notable, status
from albor.config.problems import Problem
from albor.config.schema.run import SlurmExecutor
from albor.config.schema.sweep import BasicLauncher, Launcher, OptunaSweeper, RayLauncher, SlurmLauncher
from albor.errors import INTERRUPTED, AlborError
from albor.plan import control, sweep
from albor.plan.apply import check_machine, prepare
from albor.plan.build import build
from albor.plan.nodes import Node, Plan, Planner
from albor.plan.processes import FORWARDED, nohup
from albor.runs import manifest, sweeps
from albor.runs.lineage import chain
from albor.runs.store import Run, exclusive

if TYPE_CHECKING:
    from albor.executors.jobs import Ended, Job, Jobs, Shape

LOOK = 1.0
"""Longest wait for a job, in seconds, before the keyboard is listened to again."""


def run_sweep(planner: Planner, arguments: Arguments) -> int:
    """Plans all points, builds what they share, and has the launcher run them. Exit code as for one target."""
    asked = sweep.settings(planner, arguments.overrides)
    if isinstance(asked.sweeper, OptunaSweeper):
        from albor.cli.search import run_search

        return run_search(planner, arguments, asked, asked.sweeper)
    expanded = sweep.points(planner, arguments.overrides)
    planned = sweep.preflight(planner, expanded)
    code = refuse(planned, len(expanded), strict=arguments.strict)
    if code:
        return code
    todo = [p for p in planned.plans if p.target.state != "done"]
    print(f"{plural(len(expanded), 'point')}: {len(todo)} to run, {len(expanded) - len(todo)} done", file=sys.stderr)
    record = recorded(planned.plans, arguments.overrides)
    place = sweeps.folder(Path(planned.plans[0].target.config.outputs), record.name)
    if todo:
        for plan in todo:
            refuse_stage_jobs(plan, asked.launcher)
            check_machine(plan, elsewhere=elsewhere(asked.launcher))
        for plan in todo:
            prepare(plan, group=record.name, shared=True)
    sweeps.save(place.parent.parent, record)
    if todo:
        with exclusive(place):
            code = run_points(todo, asked.launcher, place, fail_fast=arguments.fail_fast)
    summarized = summarize(planned.plans, record)
    return code or summarized


def recorded(plans: Sequence[Plan], texts: Sequence[str]) -> sweeps.Sweep:
    common = set.intersection(*(set(plan.texts) for plan in plans))
    return sweeps.Sweep(
        name=sweeps.name_of([plan.target.id for plan in plans]),
        command=shlex.join(["python", "-m", "albor", "-m", *texts]),
        created=time.time(),
        points=tuple(tuple(text for text in plan.texts if text not in common) for plan in plans),
        runs=tuple(f"{plan.target.stage.name}/{plan.target.directory.name}" for plan in plans),
    )


def refuse(planned: sweep.Sweep, total: int, *, strict: bool) -> int:
    """Shows what is wrong with the sweep's points, each thing once; 2 when it must not start."""
    problems: dict[tuple[Problem, ...], list[str]] = {}
    for texts, found in planned.refused:
        problems.setdefault(tuple(found), []).append(" ".join(texts))
    for same, where in problems.items():
        show_point(where)
        show_problems(same)
    bad = [p for p in planned.plans if p.errors]
    errors: dict[tuple[str, ...], list[Plan]] = {}
    for plan in bad:
        errors.setdefault(tuple(str(f) for _, f in plan.errors), []).append(plan)
    for alike in errors.values():
        show_point([" ".join(p.texts) for p in alike])
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


def elsewhere(launcher: Launcher) -> bool:
    """Whether points run on other machines than this one."""
    return isinstance(launcher, SlurmLauncher | RayLauncher)


def refuse_stage_jobs(plan: Plan, launcher: Launcher) -> None:
    """Raises AlborError when a point's stages would run here though Slurm is asked for."""
    if isinstance(plan.target.config.executor, SlurmExecutor) and not isinstance(launcher, SlurmLauncher):
        cause = "executor=slurm makes a job of each stage of one target; the points of a sweep would run here"
        place = plan.target.origins.find("executor.kind")
        raise AlborError(cause, "add hydra/launcher=submitit_slurm", place=place)


def shared(plans: Sequence[Plan]) -> list[Node]:
    """The upstream runs that several points depend on, and that are to be made once, before them."""
    users: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    for plan in plans:
        for node in plan.nodes[:-1]:
            users[node.id] = users.get(node.id, 0) + 1
            nodes[node.id] = node
    return [node for id_, node in nodes.items() if node.state != "done" and (users[id_] > 1 or len(plans) == 1)]


def build_here(nodes: Sequence[Node]) -> int:
    """Builds runs on this machine, or waits for who does; the first exit code that is not 0, else 0."""
    codes = (build(node.directory, announce, lambda directory, run: None, shared=True) for node in nodes)
    return next((code for code in codes if code), 0)


def build_there(nodes: Sequence[Node], jobs: Jobs, place: Path) -> bool:
    """Builds runs as jobs, before the points that need them; whether all are done."""
    if nodes:
        print(f"first what several points need: {plural(len(nodes), 'run')}", file=sys.stderr)
        side_by_side([node.directory.absolute() for node in nodes], jobs, place, fail_fast=True)
    return all(manifest.load(node.directory).status == "done" for node in nodes)


def run_points(plans: Sequence[Plan], launcher: Launcher, place: Path, *, fail_fast: bool) -> int:
    """Runs planned points, each once, after what they share. Not 0 when that was interrupted or they could not be
    started; what failed of them is seen in the runs."""
    directories = list(dict.fromkeys(plan.target.directory.absolute() for plan in plans))
    first = shared(plans)
    code = 0 if elsewhere(launcher) else build_here(first)
    if code or isinstance(launcher, BasicLauncher):
        return code or one_by_one(directories, fail_fast=fail_fast)
    from albor.executors.jobs import open_jobs

    with open_jobs(launcher, directory=place / "jobs", shape=shape(plans)) as jobs:
        if elsewhere(launcher) and not build_there(first, jobs, place):
            return 1
        return side_by_side(directories, jobs, place, fail_fast=fail_fast)


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


def one_by_one(directories: Sequence[Path], *, fail_fast: bool) -> int:
    heard = control.Control()
    for number, directory in enumerate(directories, 1):
        print(paint(f"[{number}/{len(directories)}]", "dim", stream=sys.stderr), end=" ", file=sys.stderr)
        try:
            code = build(directory, announce, lambda place, run: None, heard)
        except AlborError as error:  # the other points go on
            show_error(error)
            code = error.exit_code
        if code == INTERRUPTED:
            heard.requeue()
            return INTERRUPTED
        if code and fail_fast:
            print("--fail-fast: the other points are not started", file=sys.stderr)
            break
    return 0


def side_by_side(directories: Sequence[Path], jobs: Jobs, place: Path, *, fail_fast: bool) -> int:
    """Keeps the launcher's slots full; what ends is shown as it ends."""
    waiting = deque(job_of(directory, place) for directory in directories)
    running: dict[str, Job] = {}
    over = 0
    with stoppable(place / "stop") as asked:
        withdrawn = False
        while running or (waiting and not asked):
            if asked and not withdrawn:
                jobs.withdraw()
                withdrawn = True
            free = len(waiting) if jobs.slots is None else jobs.slots - len(running)
            new = [waiting.popleft() for _ in range(min(free, len(waiting)))] if not asked else []
            if new:
                jobs.start(new)
            running |= {job.name: job for job in new}
            for ended in jobs.ended(LOOK):
                over += 1
                done = show_end(running.pop(ended.name), ended, f"[{over}/{len(directories)}]", place)
                if not done and fail_fast and not asked:
                    print("--fail-fast: the other points are stopped, what they have in hand is saved", file=sys.stderr)
                    asked.append("failure")
                    control.stop(place / "stop")
    return INTERRUPTED if "interrupt" in asked else 0


def job_of(directory: Path, place: Path) -> Job:
    from albor.executors.jobs import Job

    command = (sys.executable, "-m", "albor.cli.job", str(directory), str((place / "stop").absolute()))
    return Job(directory.name, command, place / "logs" / f"{directory.name}.log")


@contextmanager
def stoppable(folder: Path) -> Iterator[list[str]]:
    """Ctrl-C, a SIGTERM or a closed terminal stops the jobs, which save first; a second one ends them at once. What is
    given says why they were stopped, and is empty as long as they are not."""
    asked: list[str] = []
    for file in folder.glob("*"):
        file.unlink()

    told = control.Control()

    def answer(number: int, frame: object) -> None:
        if "interrupt" in asked:
            raise KeyboardInterrupt
        asked.append("interrupt")
        told.heard(signal.Signals(number))
        control.stop(folder)
        with suppress(OSError):  # a terminal that was closed
            print("stopping: the jobs save what they have in hand (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, answer) for number in FORWARDED if not nohup(number)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.requeue()


def show_end(job: Job, ended: Ended, position: str, place: Path) -> bool:
    """What a job came to, in a line; why, when it failed. Whether its run is done."""
    directory = Path(job.command[3])
    run = manifest.load(directory)
    line = f"{paint(position, 'dim', stream=sys.stderr)} {run.stage}/{directory.name}"
    if run.status == "done":
        facts = notable(Run(directory, run))
        print(f"{line}  done{f'  {facts}' if facts else ''}", file=sys.stderr, flush=True)
        return True
    if ended.code == INTERRUPTED:
        print(f"{line}  interrupted", file=sys.stderr, flush=True)
        return False
    failed = next((each for _, each in chain(directory, unfinished=True) if each.error), None)
    cause = f"{failed.stage}: {failed.error}" if failed else ended.cause or f"it ended with exit code {ended.code}"
    print(f"{line}  failed: {cause}\n  --> {job.log}", file=sys.stderr, flush=True)
    return False


def summarize(plans: Sequence[Plan], record: sweeps.Sweep) -> int:
    """What every point came to, by what tells it from the others. 1 when one is not done."""
    found = [Run(plan.target.directory, manifest.load(plan.target.directory)) for plan in plans]
    bad = sum(run.manifest.status != "done" for run in found)
    rows = [
        [" ".join(point), run.directory.name, status(run), notable(run)]
        for point, run in zip(record.points, found, strict=True)
    ]
    print(table([["point", "run", "status", "facts"], *rows]))
    print(f"{len(plans) - bad} of {plural(len(plans), 'point')} done; `albor compare {record.name}`", file=sys.stderr)
    return 1 if bad else 0
