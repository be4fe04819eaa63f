"""DS-1000, whose tests run in the program, and MultiPL-E in its languages."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from albor.config.schema.task import Ds1000, MultiPLE
from albor.evals.files import Row, field
from albor.evals.sandbox.program import Command, Functions, Program, Script
from albor.evals.tasks.base import Problem

WARM = ("numpy", "pandas", "scipy", "scipy.stats", "sklearn", "matplotlib.pyplot", "PIL.Image")
"""What nearly every problem of DS-1000 imports."""


class Ds1000Judge:
    def __init__(self, spec: Ds1000) -> None:
        self.stop = spec.stop
        self._libraries = spec.libraries

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        found = [self._problem(row) for row in rows]
        return [problem for problem in found if not self._libraries or problem.group in self._libraries]

    def _problem(self, row: Row) -> Problem:
        about = field(row, "metadata", "DS-1000")
        field(row, "code_context", "DS-1000")
        library, number = (field(about, name, "DS-1000's metadata") for name in ("library", "library_problem_id"))
        return Problem(
            id=f"{library}/{number}",
            prompt=field(row, "prompt", "DS-1000"),
            answer=field(row, "reference_code", "DS-1000"),
            group=library,
            row=row,
        )

    def program(self, problem: Problem, completion: str) -> Script:
        """The context defines test_execution and, where the text of a solution matters, test_string."""
        context, calls = problem.row["code_context"], f"test_execution({completion!r})\n"
        if "def test_string(" in context:
            calls += f"test_string({completion!r})\n"
        return Script(program=f"{context}\n{calls}")


class MultiPLEJudge:
    def __init__(self, spec: MultiPLE) -> None:
        self.stop = spec.stop
        self._language = spec.language

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return [self._problem(row) for row in rows]

    def _problem(self, row: Row) -> Problem:
        for name in ("tests", "stop_tokens"):
            field(row, name, "MultiPL-E")
        prompt = field(row, "prompt", "MultiPL-E").strip()  # as its own harness and BigCode's have it
        return Problem(id=field(row, "name", "MultiPL-E"), prompt=prompt, answer="", row=row)

    def program(self, problem: Problem, completion: str) -> Program:
        begun, tests = problem.prompt + completion, problem.row["tests"]
        if self._language == "py":
            return Functions(program=begun, test=tests)
        word = secrets.token_hex(16)
        if self._language == "js":
            text = f"{begun}\n{tests}\nconsole.log('{word}');\n"
            return Command(files={"main.js": text}, steps=[["node", "--max-old-space-size=512", "main.js"]], word=word)
        head, _, tail = tests.rpartition("}")  # the end of main
        text = f'{begun}\n{head}    puts("{word}");\n}}{tail}'
        steps = [["g++", "-std=c++17", "main.cpp", "-o", "main"], ["./main"]]
        return Command(files={"main.cpp": text}, steps=steps, word=word)
