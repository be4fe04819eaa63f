"""``--validate-only``: a benchmark's own solutions through its own judge, with no model."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from albor.cli.render import plural, table
from albor.config.schema.config import Config
from albor.config.schema.task import FimExact, Generated
from albor.errors import AlborError
from albor.plan.nodes import Plan

SHOWN = 5
"""Failures that are named."""


def validate(plan: Plan) -> int:
    """Exit code 1 when a reference solution does not pass. Raises AlborError when the target has no benchmarks."""
    config = next((node.config for node in plan.nodes if node.stage.name == "generate"), None)
    if config is None:
        raise AlborError("--validate-only is about benchmarks, and this target has none", "stage=eval task=[humaneval]")
    rows, failures = [["task", "solutions", "pass", "time"]], []
    for name, spec in config.task.items():
        if isinstance(spec, Generated) and not isinstance(spec, FimExact):
            print(f"{name} …", file=sys.stderr, flush=True)
            began = time.monotonic()
            total, failed = validate_one(name, spec, config)
            passed = f"{total - len(failed):,}" if total else "–"
            rows.append([name, f"{total:,}" if total else "none", passed, f"{time.monotonic() - began:.1f} s"])
            failures += [f"  {name}: {text}" for text in failed[:SHOWN]]
            failures += [f"  {name}: and {len(failed) - SHOWN:,} more"] if len(failed) > SHOWN else []
    print(table(rows, right=(1, 2, 3)))
    if failures:
        print("\n".join(["", f"{plural(len(failures), 'line')} of failures:", *failures]))
    return 1 if failures else 0


def validate_one(name: str, spec: Generated, config: Config) -> tuple[int, list[str]]:
    """How many solutions the benchmark has, and what became of those that do not pass."""
    from albor.evals import files
    from albor.evals.scoring import answers, judge, sandbox_of
    from albor.evals.tasks import judge_of, problems

    by = judge_of(spec, config.seed)
    wanted = config.eval
    paths = files.locate(name, spec, config.evals.data_dir)
    with files.named(name, paths):
        found = problems(name, by, files.read(paths), wanted.limit)
    with tempfile.TemporaryDirectory() as directory:
        judged = judge(
            answers(found),
            by,
            lambda: sandbox_of(spec, wanted),
            Path(directory) / "verdicts.jsonl",
            workers=wanted.workers or None,
        )
    failed = [f"{r['problem']}: {r['verdict']}: {r['detail'][:150]}" for r in judged if r["verdict"] != "passed"]
    return len(judged), failed
