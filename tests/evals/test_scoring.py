"""From completions to verdicts to scores, with a benchmark made here and programs that are really run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from albor.config.schema.run import Eval
from albor.config.schema.task import Ds1000, FimExact, HumanEval
from albor.errors import AlborError
from albor.evals import scoring
from albor.evals.files import Row
from albor.evals.journal import Record
from albor.evals.sandbox.bubblewrap import python_at, this_python
from albor.evals.sandbox.program import Functions, Limits, Program
from albor.evals.sandbox.workers import Sandbox
from albor.evals.tasks.base import Problem

NEEDS_BWRAP = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
PROBLEMS = [
    Problem(id="add", prompt="def f(a, b):\n", answer="    return a + b", group="easy"),
    Problem(id="sub", prompt="def f(a, b):\n", answer="    return a - b", group="hard", suffix="\n"),
    Problem(id="none", prompt="", answer="", group="hard"),
]


class Calls:
    """Runs ``f(5, 3)``; a completion in capitals is judged by looking."""

    stop: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.asked: list[str] = []

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return PROBLEMS

    def program(self, problem: Problem, completion: str) -> Program | bool:
        self.asked.append(completion)
        if completion.isupper():
            return completion == "YES"
        wanted = {"add": 8, "sub": 2}[problem.id]
        return Functions(program=problem.prompt + completion, test=f"assert f(5, 3) == {wanted}, f(5, 3)")


def records(*completions: tuple[str, str]) -> list[tuple[Problem, Record]]:
    problems = {problem.id: problem for problem in PROBLEMS}
    named = enumerate(completions)
    return [(problems[name], {"problem": name, "sample": i, "completion": text}) for i, (name, text) in named]


def never() -> Sandbox:
    raise AssertionError("no program is to be run")


@NEEDS_BWRAP
@pytest.mark.xdist_group("sandbox")
def test_verdicts_come_in_the_order_asked_for_whether_run_or_looked_at(tmp_path: Path) -> None:
    todo = records(("add", "    return a + b"), ("sub", "NO"), ("add", "    return a - b"), ("sub", "YES"),
                   ("sub", "    raise ValueError('\\ud800')"))  # fmt: skip
    steps: list[tuple[int, int]] = []
    judged = scoring.judge(
        todo,
        Calls(),
        Sandbox.of_this_python,
        tmp_path / "verdicts.jsonl",
        workers=1,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert [record["verdict"] for record in judged] == ["passed", "failed", "failed", "passed", "error"]
    assert [record["completion"] for record in judged] == [record["completion"] for _, record in todo]
    assert [record["sample"] for record in judged] == [0, 1, 2, 3, 4]
    assert [record["detail"] for record in judged[:4]] == ["", "", "assert f(5, 3) == 8, f(5, 3)", ""]
    assert judged[4]["detail"] == "ValueError: ?"
    assert (judged[1]["seconds"], judged[3]["seconds"]) == (0.0, 0.0)
    assert all(0 < record["seconds"] == round(record["seconds"], 4) < 3 for record in (judged[0], judged[2]))
    assert steps == [(0, 5), *((done, 5) for done in range(1, 6))]
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert sorted(line["sample"] for line in lines) == [0, 1, 2, 3, 4]
    assert {*lines[0]} == {"problem", "sample", "verdict", "detail", "seconds"}


@NEEDS_BWRAP
@pytest.mark.xdist_group("sandbox")
def test_a_verdict_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    path, by, steps = tmp_path / "verdicts.jsonl", Calls(), list[tuple[int, int]]()
    known = {"problem": "add", "sample": 0, "verdict": "timeout", "detail": "slow", "seconds": 3.5}
    path.write_text(json.dumps(known) + '\n{"problem": "sub", "sam')
    todo = records(("add", "    return a + b"), ("sub", "    return a - b"))
    judged = scoring.judge(
        todo, by, Sandbox.of_this_python, path, workers=None, progress=lambda *counts: steps.append(counts)
    )
    assert [record["verdict"] for record in judged] == ["timeout", "passed"]
    assert judged[0] == {**todo[0][1], **known} and judged[1]["detail"] == ""
    assert set(by.asked) == {"    return a - b"} and steps == [(1, 2), (2, 2)]
    again = scoring.judge(todo, by, never, path, workers=1)
    assert again == judged and set(by.asked) == {"    return a - b"}


def test_no_sandbox_is_started_for_what_is_only_looked_at(tmp_path: Path) -> None:
    judged = scoring.judge(records(("add", "YES"), ("sub", "NO")), Calls(), never, tmp_path / "v.jsonl", workers=1)
    assert [(r["verdict"], r["detail"], r["seconds"]) for r in judged] == [("passed", "", 0.0), ("failed", "", 0.0)]


def test_as_many_sandboxes_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def none(programs: object, sandbox: object, *, workers: int | None) -> list[object]:
        asked.append(workers)
        return []

    monkeypatch.setattr(scoring, "execute", none)
    todo = records(("add", "    return a + b"))
    with pytest.raises(KeyError):  # nobody judged it
        scoring.judge(todo, Calls(), lambda: Sandbox(this_python()), tmp_path / "v.jsonl", workers=7)
    assert asked == [7]


def verdicts(**of: str) -> list[Record]:
    """One record for every letter: p passed, f failed, t timeout."""
    names = {"p": "passed", "f": "failed", "t": "timeout"}
    return [
        {"problem": problem, "sample": i, "verdict": names[letter]}
        for problem, letters in of.items()
        for i, letter in enumerate(letters)
    ]


def test_scores_are_of_all_problems_and_of_each_group() -> None:
    found = scoring.score(HumanEval(pass_at=(1, 2)), PROBLEMS, verdicts(add="pp", sub="pf", none="ft"))
    assert (found["problems"], found["samples"]) == (3, 2)
    assert found["pass@1"]["value"] == 0.5 and found["pass@2"]["value"] == pytest.approx(2 / 3)
    assert {name: of["pass@1"]["value"] for name, of in found["groups"].items()} == {"easy": 1.0, "hard": 0.25}
    assert list(found["groups"]) == ["easy", "hard"] and found["groups"]["hard"]["problems"] == 2
    assert found["verdicts"] == {"failed": 2, "passed": 3, "timeout": 1}
    assert list(found["verdicts"]) == sorted(found["verdicts"]) and "cut_prompts" not in found


def test_a_task_that_runs_nothing_has_exact_matches() -> None:
    found = scoring.score(FimExact(), PROBLEMS[:2], verdicts(add="p", sub="f"))
    assert found["exact@1"]["value"] == 0.5 and found["groups"]["easy"]["exact@1"]["value"] == 1.0


def test_one_group_alone_is_not_repeated() -> None:
    assert "groups" not in scoring.score(HumanEval(), PROBLEMS[:1], verdicts(add="p"))
    ungrouped = [Problem(id=name, prompt="", answer="") for name in ("a", "b")]
    assert "groups" not in scoring.score(HumanEval(), ungrouped, verdicts(a="p", b="f"))


def test_prompts_that_were_cut_are_counted() -> None:
    judged = verdicts(add="pp", sub="f")
    judged[0]["cut_prompt"] = judged[2]["cut_prompt"] = True
    judged[1]["cut_prompt"] = False
    assert scoring.score(HumanEval(), PROBLEMS[:2], judged)["cut_prompts"] == 2


def test_the_floor_of_infilling_and_the_answers_of_the_benchmark() -> None:
    assert scoring.empties(PROBLEMS) == [(PROBLEMS[1], {"problem": "sub", "sample": 0, "completion": ""})]
    assert scoring.answers(PROBLEMS) == [
        (PROBLEMS[0], {"problem": "add", "sample": 0, "completion": "    return a + b"}),
        (PROBLEMS[1], {"problem": "sub", "sample": 0, "completion": "    return a - b"}),
    ]
    assert scoring.share_passed(verdicts(a="ppp", b="f")) == 0.75


def test_the_sandbox_is_as_the_task_says() -> None:
    spec = HumanEval(seconds=2.5, memory=1 << 20, processes=3)
    limits = Limits(seconds=2.5, memory=1 << 20, processes=3)
    assert scoring.sandbox_of(spec, Eval(name="e")) == Sandbox(this_python(), limits, (), True)
    open_ = scoring.sandbox_of(spec, Eval(name="e", sandbox="none", python=sys.executable))
    assert open_ == Sandbox(python_at(sys.executable), limits, (), False)
    with pytest.raises(AlborError, match="=gone is no Python"):
        scoring.sandbox_of(spec, Eval(name="e", python="gone"))
    assert "pandas" in scoring.sandbox_of(Ds1000(), Eval(name="e")).warm


def test_an_evaluation_may_give_every_program_other_limits() -> None:
    spec = HumanEval(seconds=2.5, memory=1 << 20, processes=3)
    found = scoring.sandbox_of(spec, Eval(name="e", seconds=9.0))
    assert found.limits == Limits(seconds=9.0, memory=1 << 20, processes=3)
    found = scoring.sandbox_of(spec, Eval(name="e", memory=1 << 21))
    assert found.limits == Limits(seconds=2.5, memory=1 << 21, processes=3)
