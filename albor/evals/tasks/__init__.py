"""Benchmarks: one judge per kind of task."""

from __future__ import annotations

from albor.config.schema.task import Ds1000, EvalPlus, FimExact, Generated, HumanEval, Mbpp, MultiPLE
from albor.evals.tasks.base import Judge
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
