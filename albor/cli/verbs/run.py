"""Running a target: plan, refuse or build, say what was made. With -m, a sweep."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.cli.session import planner
from albor.cli.show import show_findings, verdict
from albor.config.overrides import refuse_without_sweep
from albor.config.schema.run import SlurmExecutor
from albor.config.schema.sweep import OptunaSweeper
from albor.config.units import human_seconds
from albor.errors import INTERRUPTED
from albor.plan.apply import check_machine, prepare
from albor.plan.build import build
from albor.plan.control import Control
from albor.plan.nodes import Node, Planner
from albor.runs import manifest
from albor.runs.manifest import Manifest

HEADLINES = ("documents", "vocab_size", "num_sequences", "val_ppl", "val_bits_per_byte", "tokens_per_second", "page")


def run(arguments: Arguments) -> int:
    """The exit code, as of ``albor``; 75 when nobody reads any more what is told on the way."""
    try:
        return make(arguments)
    except BrokenPipeError:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
        return INTERRUPTED


def make(arguments: Arguments) -> int:
    if arguments.cfg:
        return show_config(planner(arguments), arguments.overrides)
    from albor.plan import sweep

    made = planner(arguments)
    if arguments.multirun or sweep.asks_for_sweep(made, arguments.overrides):
        if arguments.detach:
            raise bad("--detach does not go with a sweep", "leave it out: a sweep that is cut off goes on by itself")
        return run_many(made, arguments)
    plan = made.plan(arguments.overrides)
    refuse_without_sweep(arguments.overrides)
    if arguments.validate_only:
        from albor.cli.benchmarks import validate

        return validate(plan)
    executor = plan.target.config.executor
    on_slurm = isinstance(executor, SlurmExecutor)
    if arguments.detach and not on_slurm:
        raise bad("--detach leaves jobs to Slurm, and there are none", "add executor=slurm")
    line, code = verdict(plan, strict=arguments.strict)
    show_findings(plan)
    if code:
        print(f"{line}; nothing was started", file=sys.stderr)
        return code
    todo = [n for n in plan.nodes if n.state != "done"]
    target = plan.target
    if not todo:
        print(f"nothing to do: {target.name} is done, and {target.reason}", file=sys.stderr)
        if any(asks_for_profile(node) for node in plan.nodes):
            short = "trainer.max_steps=20 trainer.warmup_steps=1"
            print(f"trainer.profile makes no run again; a short one of its own has the table: {short}", file=sys.stderr)
        show_result(target.directory, manifest.load(target.directory))
        return 0
    check_machine(plan, elsewhere=on_slurm)
    prepare(plan, shared=on_slurm)
    numbers = {n.directory.resolve(): i for i, n in enumerate(todo, 1)}
    began = time.monotonic()

    def announce(directory: Path, run: Manifest) -> None:
        position = f"[{numbers.get(directory, '·')}/{len(todo)}]"
        print(f"{paint(position, 'dim', stream=sys.stderr)} {run.stage}/{directory.name}", file=sys.stderr, flush=True)

    control = Control()
    if isinstance(executor, SlurmExecutor):
        from albor.cli.cluster import build_on_slurm

        code = build_on_slurm(plan, executor, detach=arguments.detach)
    else:
        code = build(target.directory, announce, show_finished, control)
    if code == INTERRUPTED:
        control.requeue()
    if code == 0 and not arguments.detach:
        print(f"done in {human_seconds(time.monotonic() - began)}", file=sys.stderr)
        show_result(target.directory, manifest.load(target.directory))
    return code


def run_many(made: Planner, arguments: Arguments) -> int:
    """A sweep, or a search."""
    from albor.plan import sweep

    asked = sweep.settings(made, arguments.overrides)
    if isinstance(asked.sweeper, OptunaSweeper):
        from albor.cli.search import run_search

        return run_search(made, arguments, asked, asked.sweeper)
    from albor.cli.sweeps import run_sweep

    return run_sweep(made, arguments, asked)


def asks_for_profile(node: Node) -> bool:
    """Whether a run that was made without a profile is now asked for one. No result depends on it: the run is kept."""
    made_with = node.run is not None and node.run.manifest.config["trainer"]["profile"]
    return node.stage.distributed and node.config.trainer.profile and not made_with


def show_finished(directory: Path, run: Manifest) -> None:
    facts = ", ".join(f"{k} {_short(run.facts[k])}" for k in HEADLINES if run.facts.get(k) is not None and k != "page")
    took = human_seconds(run.seconds or 0)
    print(f"      {took}" + (f"; {facts}" if facts else ""), file=sys.stderr, flush=True)
    if scores := run.facts.get("scores"):
        from albor.cli.scores import score_table

        print(score_table(scores), file=sys.stderr, flush=True)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return " + ".join(f"{v:,} {k}" for k, v in value.items())
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def show_result(directory: Path, run: Manifest) -> None:
    """Where the artifact lies, and for a report the page to open."""
    page = run.facts.get("page")
    print(directory / "artifact" / str(page) if page else directory / "artifact")


def show_config(made: Planner, overrides: tuple[str, ...]) -> int:
    """``--cfg job``: the resolved config of the target, defaults included."""
    import yaml

    from albor.config.structure import plain

    target = made.plan(overrides).target
    print(yaml.dump(plain(target.config), Dumper=yaml.CSafeDumper, sort_keys=False), end="")
    return 0
