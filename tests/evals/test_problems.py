"""Problems that cannot be measured, told before anything is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from albor.errors import AlborError
from albor.evals.generation import refuse_lossy
from albor.evals.tasks import problems
from albor.evals.tasks.base import Problem

ONE, TWO = (Problem(id=f"t/{n}", prompt="def f():\n    ", answer=f"return {n}") for n in (1, 2))


def judge(*found: Problem) -> Any:
    return SimpleNamespace(problems=lambda rows: list(found))


def test_the_first_problems_are_taken_and_none_or_two_of_a_name_refused() -> None:
    assert problems("t", judge(ONE, TWO), [], None) == [ONE, TWO]
    assert problems("t", judge(ONE, TWO), [], 1) == [ONE]
    with pytest.raises(AlborError, match="task t has no problems") as refused:
        problems("t", judge(), [], None)
    assert "~task.t" in str(refused.value.help)
    with pytest.raises(AlborError, match="two problems of task t are called t/1"):
        problems("t", judge(ONE, TWO, ONE), [], None)


def test_a_tokenizer_that_loses_white_space_is_refused_by_a_problem_that_has_it() -> None:
    job: Any = SimpleNamespace(name="t", problems=[ONE])
    exact: Any = SimpleNamespace(encode=lambda text: text, decode=lambda ids: ids)
    lossy: Any = SimpleNamespace(encode=lambda text: text, decode=lambda ids: " ".join(ids.split()))
    refuse_lossy(exact, [job])
    with pytest.raises(AlborError, match="does not give back problem t/1 of t as it read it"):
        refuse_lossy(lossy, [job])
