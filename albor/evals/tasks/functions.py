"""Benchmarks of Python functions: HumanEval, its infilling variants, MBPP, MultiPL-E's Python, EvalPlus."""

from __future__ import annotations

from collections.abc import Sequence

from albor.config.schema.task import EvalPlus, HumanEval, Mbpp
from albor.errors import AlborError
from albor.evals.files import Row, field
from albor.evals.sandbox.program import Functions
from albor.evals.tasks.base import Problem

FEW_SHOT = (2, 3, 4)
"""Tasks of MBPP that the paper shows as examples."""


class HumanEvalJudge:
    def __init__(self, spec: HumanEval) -> None:
        self.stop = spec.stop

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return [self._problem(row) for row in rows]

    def _problem(self, row: Row) -> Problem:
        prompt, suffix = field(row, "prompt", "the benchmark"), row.get("suffix")
        for name in ("task_id", "entry_point", "test"):
            field(row, name, "the benchmark")
        answer = row.get("canonical_solution") or ""
        if suffix is None:  # as BigCode's harness has it: models do not like to start on white space
            stripped = prompt.strip()
            trailing = prompt[len(prompt.rstrip()) :]
            return Problem(id=str(row["task_id"]), prompt=stripped, answer=trailing + answer, row=row)
        return Problem(id=str(row["task_id"]), prompt=prompt, suffix=suffix, answer=answer, row=row)

    def program(self, problem: Problem, completion: str) -> Functions:
        row, suffix = problem.row, problem.suffix or ""
        return Functions(
            program=problem.prompt + completion + suffix,
            reference=problem.prompt + problem.answer + suffix,
            test=f"{row['test']}\ncheck({row['entry_point']})",
            entry_point=row["entry_point"],
        )


class MbppJudge:
    def __init__(self, spec: Mbpp) -> None:
        self.stop = spec.stop
        self._spec = spec

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        for row in rows:
            for name in ("task_id", "text", "code", "test_list", "test_setup_code"):
                field(row, name, "MBPP")
        by_id = {_number(row): row for row in rows}
        first, last = self._spec.ids or (min(by_id), max(by_id))
        shown = ""
        if self._spec.style == "few_shot":
            if absent := [str(i) for i in FEW_SHOT if i not in by_id]:
                raise AlborError(
                    f"the file lacks the examples of the prompt: tasks {', '.join(absent)}",
                    "take the whole file, or style=docstring",
                    code="E-DATA",
                )
            shown = "".join(f"{_asked(by_id[i])}{_lines(by_id[i]['code'])}\n[DONE]\n\n" for i in FEW_SHOT)
        return [self._problem(row, shown) for i, row in sorted(by_id.items()) if first <= i <= last]

    def _problem(self, row: Row, shown: str) -> Problem:
        if self._spec.style == "few_shot":
            prompt = shown + _asked(row)
        else:
            prompt = f'"""\n{row["text"]}\n{row["test_list"][0]}\n"""\n'
        return Problem(id=str(row["task_id"]), prompt=prompt, answer=_lines(row["code"]), row=row)

    def program(self, problem: Problem, completion: str) -> Functions:
        shown = "" if self._spec.style == "few_shot" else problem.prompt
        tests = [problem.row["test_setup_code"], *problem.row["test_list"]]
        return Functions(program=shown + completion, test="\n".join(map(_lines, tests)))


def _number(row: Row) -> int:
    try:
        return int(row["task_id"])
    except (TypeError, ValueError):
        raise AlborError(
            f"a task of MBPP has a number, and not '{row['task_id']}'",
            "is it another format? EvalPlus' files are for kind: evalplus",
            code="E-DATA",
        ) from None


def _asked(row: Row) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def _lines(text: str) -> str:
    """With one kind of line end: most of MBPP's solutions have Windows'."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class EvalPlusJudge:
    """The reference's outputs are computed beside the tests, never in the program's process."""

    def __init__(self, spec: EvalPlus) -> None:
        self.stop = spec.stop
        self._parts = ("base_input",) if spec.base_only else ("base_input", "plus_input")

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return [self._problem(row) for row in rows]

    def _problem(self, row: Row) -> Problem:
        prompt = field(row, "prompt", "EvalPlus")
        for name in ("task_id", "entry_point", "canonical_solution", *self._parts):
            field(row, name, "EvalPlus")
        stripped = prompt.strip()
        trailing = prompt[len(prompt.rstrip()) :]
        return Problem(id=str(row["task_id"]), prompt=stripped, answer=trailing + row["canonical_solution"], row=row)

    def program(self, problem: Problem, completion: str) -> Functions:
        row = problem.row
        inputs = [row[part] if isinstance(row[part], str) else repr(row[part]) for part in self._parts]
        return Functions(
            program=problem.prompt + completion,
            reference=f"{problem.prompt}{problem.answer}\n_reference = {row['entry_point']}\n",
            test=_COMPARE.format(
                inputs=" + ".join(inputs), atol=row.get("atol") or 0, entry=row["entry_point"], id=row["task_id"]
            ),
            entry_point=row["entry_point"],
        )


_COMPARE = """
import copy
from math import inf, nan


def same(ours, theirs, atol):
    if isinstance(theirs, float) or (isinstance(ours, float) and isinstance(theirs, int)):
        if isinstance(ours, bool) or not isinstance(ours, (int, float)):
            return False
        return ours == theirs or (ours != ours and theirs != theirs) or abs(ours - theirs) <= atol + 1e-7 * abs(theirs)
    if isinstance(theirs, (list, tuple)):
        # EvalPlus, too, lets a list stand for a tuple.
        if not isinstance(ours, (list, tuple)) or len(ours) != len(theirs):
            return False
        return all(same(a, b, atol) for a, b in zip(ours, theirs))
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and ours.keys() == theirs.keys() and all(
            same(ours[k], theirs[k], atol) for k in theirs
        )
    return ours == theirs


def tolerance(expected):
    # EvalPlus, too, asks of numbers with a point for no more where the problem names nothing.
    parts = expected if isinstance(expected, (list, tuple)) else [expected]
    return {atol} or (1e-6 if all(isinstance(part, float) for part in parts) else 0)


for arguments in {inputs}:
    expected = _reference(*copy.deepcopy(arguments))
    got = {entry}(*copy.deepcopy(arguments))
    if {id!r} == "HumanEval/32":  # a root of a polynomial, and there may be several
        assert abs(poly(*copy.deepcopy(arguments), got)) <= 1e-4, f"{entry}(*{{arguments!r}}) is no root"
    else:
        assert same(got, expected, tolerance(expected)), f"{entry}(*{{arguments!r}}) is {{got!r}}, not {{expected!r}}"
"""
