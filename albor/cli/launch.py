"""Handing over to Hydra: its launchers for sweeps, and its own informative flags.

A sweep is planned here, point by point, before Hydra is called. What Hydra then sweeps over are run directories
(``conf/_run.yaml`` holds nothing else), so no job, on whatever machine, composes from YAML again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from albor.cli.arguments import Arguments
from albor.cli.render import paint, plural, show_error, show_findings_of, show_problems, table
from albor.cli.verbs.runs import notable, status
from albor.config.location import conf_directory
from albor.config.overrides import is_hydra
from albor.config.problems import ConfigRefused, Problem
from albor.errors import INTERRUPTED, AlborError
from albor.plan import sweep
from albor.plan.apply import build, check_machine, prepare
from albor.plan.nodes import Node, Plan, Planner
from albor.runs import manifest
from albor.runs.manifest import Manifest
from albor.runs.store import Run


def call_hydra(job: Callable[[Any], Any], config_name: str, argv: Sequence[str]) -> None:
    """``hydra.main`` with these arguments instead of the process's.

    Hydra raises plain errors of many types, so they are told apart by phase: before the first job starts an error is
    the user's to mend (ConfigRefused), after that it is raised as it is.
    """
    import hydra

    started = False

    def counted(cfg: Any) -> Any:
        nonlocal started
        started = True
        return job(cfg)

    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name=config_name)(counted)()
    except Exception as error:
        if started:
            raise
        raise ConfigRefused([from_hydra(error)]) from None


def from_hydra(error: Exception) -> Problem:
    """Hydra's message: the first line is the cause, the rest mostly lists what there is."""
    cause, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    rest = rest[: next((i for i, line in enumerate(rest) if line.startswith("Config search path")), 6)]
    fix = " ".join(rest)
    if "hydra/launcher" in cause or "hydra/sweeper" in cause:
        fix = f"install its plugin, hydra-joblib-launcher or hydra-submitit-launcher for two. {fix}"
    return Problem("E-OVERRIDE", "hydra", cause, fix or None)


def check_launcher(own: Sequence[str]) -> None:
    """Raises ConfigRefused when Hydra cannot compose its own part, a launcher that is not installed for one."""
    from hydra import compose, initialize_config_dir

    if not own:
        return
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        try:
            compose("_run", [*own, "run_dir=checked"], return_hydra_config=True)
        except Exception as error:
            raise ConfigRefused([from_hydra(error)]) from None


def hydra_itself(argv: Sequence[str]) -> int:
    """--info, --hydra-help and the like, answered by Hydra for our config."""
    call_hydra(lambda cfg: None, "config", [f"++{a}" if a.startswith(("up.", "inputs.")) else a for a in argv])
    return 0


def run_sweep(planner: Planner, arguments: Arguments) -> int:
    """Plans all points, builds what they share, and lets Hydra's launcher run them. Exit code as for one target."""
    expanded = sweep.points(planner, arguments.overrides)
    planned = sweep.preflight(planner, expanded)
    code = refuse(planned, len(expanded), strict=arguments.strict)
    if code:
        return code
    todo = [p for p in planned.plans if p.target.state != "done"]
    print(f"{plural(len(expanded), 'point')}: {len(todo)} to run, {len(expanded) - len(todo)} done", file=sys.stderr)
    if not todo:
        return summarize(planned.plans)
    own = [o for o in arguments.overrides if is_hydra(o) and "searchpath" not in o]
    own = [o for o in own if not o.lstrip("+").startswith("hydra.mode=")]
    check_launcher(own)
    for plan in todo:
        check_machine(plan)
    for plan in todo:
        prepare(plan)
    code = build_shared(todo)
    if code:
        return code
    directories = list(dict.fromkeys(str(p.target.directory.absolute()) for p in todo))
    silence_second_validation()
    values = ",".join("'" + d.replace("'", "\\'") + "'" for d in directories)
    logs = Path(todo[0].target.config.outputs).absolute() / ".sweeps"
    call_hydra(job, "_run", ["-m", f"run_dir={values}", f"hydra.sweep.dir='{logs}'", *own])
    return summarize(planned.plans)


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


def build_shared(plans: Sequence[Plan]) -> int:
    """Builds, once and here, the upstream runs that several points depend on; jobs may run side by side."""
    users: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    for plan in plans:
        for node in plan.nodes[:-1]:
            users[node.id] = users.get(node.id, 0) + 1
            nodes[node.id] = node
    for id_, node in nodes.items():
        if node.state != "done" and (users[id_] > 1 or len(plans) == 1):
            code = build(node.directory, announce, lambda directory, run: None)
            if code:
                return code
    return 0


def announce(directory: Path, run: Manifest) -> None:
    print(f"{run.stage}/{directory.name}", file=sys.stderr, flush=True)


def job(cfg: Any) -> int:
    """One point of the sweep, on whatever machine: the chain of its run directory."""
    try:
        code = build(Path(cfg.run_dir), announce, lambda directory, run: None)
    except AlborError as error:  # the other points go on
        show_error(error)
        return error.exit_code
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code


def silence_second_validation() -> None:
    """Hydra's sweeper composes every point once more before it starts, to see that it composes: all are planned."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    BasicSweeper.validate_batch_is_legal = lambda self, batch: None  # type: ignore[method-assign]


def summarize(plans: Sequence[Plan]) -> int:
    """What every point came to, by what tells it from the others. 1 when one is not done."""
    common = set.intersection(*(set(plan.texts) for plan in plans))
    found = [Run(plan.target.directory, manifest.load(plan.target.directory)) for plan in plans]
    bad = sum(run.manifest.status != "done" for run in found)
    rows = [
        [" ".join(text for text in plan.texts if text not in common), run.directory.name, status(run), notable(run)]
        for plan, run in zip(plans, found, strict=True)
    ]
    print(table([["point", "run", "status", "facts"], *rows]))
    print(f"{len(plans) - bad} of {plural(len(plans), 'point')} done", file=sys.stderr)
    return 1 if bad else 0
