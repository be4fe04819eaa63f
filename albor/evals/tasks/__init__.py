"""Benchmarks: one judge per kind of task."""

from __future__ import annotations

from collections.abc import Sequence

from albor.config.schema.task import Ds1000, EvalPlus, FimExact, Generated, HumanEval, Mbpp, MultiPLE
from albor.errors import AlborError
from albor.evals.files import Row
from albor.evals.tasks.base import Judge, Problem
from albor.evals.tasks.functions import EvalPlusJudge, HumanEvalJudge, MbppJudge
from albor.evals.tasks.infilling import FimExactJudge, SantaCoderJudge
from albor.evals.tasks.others import Ds1000Judge, MultiPLEJudge


def judge_of(spec: Generated, seed: int) -> Judge:
    """The judge of a task; ``seed`` chooses where a benchmark is itself drawn."""
    match spec:
        case HumanEval():
            return HumanEvalJudge(spec)
        case EvalPlus():
            return EvalPlusJudge(spec)
        case Mbpp():
            return MbppJudge(spec)
        case Ds1000():
            return Ds1000Judge(spec)
        case MultiPLE():
            return MultiPLEJudge(spec)
        case FimExact():
            return FimExactJudge(spec, seed)
        case _:
            return SantaCoderJudge(spec)


def problems(name: str, by: Judge, rows: Sequence[Row], limit: int | None) -> list[Problem]:
    """The first problems of a task. Raises AlborError when there is none, or two that nothing tells apart."""
    found = by.problems(rows)[:limit]
    if not found:
        fix = "take another file or selection, for fim_exact a corpus with functions of four lines and more"
        raise AlborError(f"task {name} has no problems", f"{fix}; or leave it out: ~task.{name}", code="E-EVAL")
    known: set[str] = set()
    for problem in found:
        if problem.id in known:
            raise AlborError(
                f"two problems of task {name} are called {problem.id}", "give each its own task_id", code="E-DATA"
            )
        known.add(problem.id)
    return found
