"""Holes to fill that are judged by exact match: where they lie, and what counts as right."""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from typing import Any

import pytest

from albor.config.schema.task import FimExact, Generated, SantaCoderFim
from albor.evals.scoring import answers
from albor.evals.tasks import judge_of
from albor.evals.tasks.base import Problem

Row = dict[str, Any]


def test_santacoder_has_a_problem_for_every_line_that_is_not_blank() -> None:
    row: Row = {"prompt": 'def f(x):\n    """Doc."""\n', "body": ["    y = x", "", "    y += 1", "    return y"]}
    by = judge_of(SantaCoderFim(stop=("\n",)), 0)
    problems = by.problems([row, row])
    assert [p.id for p in problems] == ["0/L0", "0/L2", "0/L3", "1/L0", "1/L2", "1/L3"]
    whole = row["prompt"] + "\n".join(row["body"])
    assert {p.prompt + p.answer + str(p.suffix) for p in problems[:2]} == {whole}
    assert problems[1].prompt == 'def f(x):\n    """Doc."""\n    y = x\n\n' and problems[2].suffix == "\n"
    assert by.program(problems[1], "y += 1 ") is True
    assert [by.program(problems[1], c) for c in ("", "y += 2", "y += 1\nreturn y")] == [False] * 3


DOCUMENT = '''"""A module."""

import os


def first(a, b):
    """Adds, and more.

    Over lines.
    """
    total = a + b

    if total > 3:
        total -= 1
    for _ in range(2):
        total *= 2
    return total


class Thing:
    def method(self, n):
        values = []
        for i in range(n):
            values.append(i * "é")
        if not values:
            raise ValueError("ü")
        return values


def short():
    return 1


def beside(x): return [
    x,
    x,
    x,
]
'''


def bodies(text: str) -> list[tuple[int, int]]:
    """Offsets of functions' bodies without their docstrings."""
    lines = text.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines) + 1)]
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    return [
        (starts[f.body[ast.get_docstring(f) is not None].lineno - 1], starts[f.end_lineno or 0])
        for f in functions
        if f.name != "beside"
    ]


def holes(documents: Sequence[str], seed: int = 0, functions: int = 200) -> list[Problem]:
    return judge_of(FimExact(functions=functions), seed).problems([{"text": text} for text in documents])


def some_documents(count: int) -> list[str]:
    draw = random.Random(0)
    made = []
    for number in range(count):
        body = "".join(f"    x{i} = {draw.randrange(99)}\n" for i in range(draw.randrange(4, 12)))
        made.append(f"import os\n\n\ndef f{number}(a):\n{body}    return a\n\n\nLAST = {number}\n")
    return made


@pytest.mark.parametrize("seed", range(20))
def test_holes_lie_in_bodies_of_functions(seed: int) -> None:
    found = holes([DOCUMENT], seed)
    assert [p.group for p in found] == ["single_line", "multi_line", "random_span"] * 2
    for p in found:
        assert p.answer and p.prompt + p.answer + str(p.suffix) == DOCUMENT
        begin, end = len(p.prompt), len(p.prompt) + len(p.answer)
        assert any(start <= begin and end <= stop for start, stop in bodies(DOCUMENT)), p
        if p.group != "random_span":
            assert p.prompt.endswith("\n") and str(p.suffix).startswith("\n") and p.answer.strip()
        if p.group == "single_line":
            assert "\n" not in p.answer


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT.replace("\n\n\nclass", "\n\x0c\n# \u2028 \x85 \x1c\nclass"),
        DOCUMENT.replace("\n", "\r\n"),
        "def f(x):\n    a = 1\n    b = 2\n    c = 3\n    return abc",
    ],
    ids=["form feeds", "Windows", "no last line end"],
)
def test_lines_are_those_of_python(text: str) -> None:
    lines = {line.strip() for line in text.replace("\x0c", "\n").split("\n")}
    for seed in range(20):
        for p in holes([text], seed):
            assert p.prompt + p.answer + str(p.suffix) == text
            begin, end = len(p.prompt), len(p.prompt) + len(p.answer)
            assert any(start <= begin and end <= stop for start, stop in bodies(text)), p
            if p.group != "random_span":
                assert {line.strip() for line in p.answer.split("\n")} <= lines


@pytest.mark.parametrize("around", [1, 250, 2000])
def test_holes_of_long_documents_keep_what_is_around_them(around: int) -> None:
    long = "# filler\n" * 2000
    text = f"{long}{DOCUMENT}{long}"
    found = judge_of(FimExact(around=around), 0).problems([{"text": text}])
    assert [p.answer for p in found] == [p.answer for p in holes([text])]
    for p in found:
        assert p.prompt + p.answer + str(p.suffix) in text
        assert len(p.prompt) == len(str(p.suffix)) == around


def test_holes_are_the_same_for_the_same_seed_whatever_the_order() -> None:
    documents = some_documents(30)
    found = holes(documents, functions=5)
    assert len(found) == 15 and len({p.id for p in found}) == 15
    assert holes(documents[::-1], functions=5) == found == holes(documents + documents, functions=5)
    assert holes(documents, seed=1, functions=5) != found


def test_documents_that_are_no_python_have_no_holes(recwarn: pytest.WarningsRecorder) -> None:
    assert holes(["def f(:", "\x00", "", "print 'x'", "(" * 5000, "x = '\\d'"]) == []
    assert not recwarn.list


def test_an_exact_match_does_not_ask_for_white_space_at_its_ends() -> None:
    by = judge_of(FimExact(), 0)
    problem = holes([DOCUMENT])[0]
    assert by.program(problem, f"\n  {problem.answer.strip()}  ") is True
    assert by.program(problem, f"{problem.answer}x") is False and by.program(problem, "") is False


@pytest.mark.parametrize("spec", [SantaCoderFim(), FimExact()])
def test_the_reference_of_a_hole_passes(spec: Generated) -> None:
    row = {"prompt": "def f(x):\n", "body": ["    return x"], "text": DOCUMENT}
    by = judge_of(spec, 0)
    known = answers(by.problems([row]))
    assert known and all(by.program(problem, record["completion"]) is True for problem, record in known)
