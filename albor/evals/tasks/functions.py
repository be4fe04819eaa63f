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
        prompt, suffix = field(row, "prompt", "HumanEval's kind"), row.get("suffix")
        for name in ("task_id", "entry_point", "test"):
            field(row, name, "HumanEval's kind")
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
    """By EvalPlus' own rules. The reference's outputs are computed beside the tests, never in the program's process."""

    def __init__(self, spec: EvalPlus) -> None:
        self.stop = spec.stop
        self._parts = ("base_input",) if spec.base_only else ("base_input", "plus_input")

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return [self._problem(row) for row in rows]

    def _problem(self, row: Row) -> Problem:
        prompt = field(row, "prompt", "EvalPlus")
        for name in ("task_id", "entry_point", "canonical_solution", *self._parts):
            field(row, name, "EvalPlus")
        task = str(row["task_id"])
        shown = prompt.strip() + ("\n" if task.startswith("Mbpp/") else "")  # a docstring ends its line
        trailing = prompt.lstrip()[len(shown) :]
        return Problem(id=task, prompt=shown, answer=trailing + row["canonical_solution"], row=row)

    def program(self, problem: Problem, completion: str) -> Functions:
        row = problem.row
        inputs = [row[part] if isinstance(row[part], str) else repr(row[part]) for part in self._parts]
        return Functions(
            program=problem.prompt + completion,
            test=_COMPARE.format(
                entry=row["entry_point"],
                reference=problem.prompt + problem.answer,
                task=row["task_id"],
                atol=row.get("atol") or 0,
                parts=", ".join(inputs),
            ),
            entry_point=row["entry_point"],
        )


_COMPARE = """
from math import inf, nan
from albor.evals.sandbox.inside.evalplus import compare as _compare
_compare({entry}, {reference!r}, {entry!r}, {task!r}, {atol}, [{parts}])
"""
