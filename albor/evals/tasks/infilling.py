"""Holes to fill, judged by exact match: SantaCoder's task, and functions of the held-out documents."""

from __future__ import annotations

import ast
import hashlib
import random
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from albor.config.schema.task import FimExact, SantaCoderFim
from albor.evals.files import Row, field
from albor.evals.tasks.base import Problem

SPAN = (2, 8)
"""Lines of a hole of several lines."""
LINES = (4, 60)
"""Lines of a function that is taken."""
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
"""A line as Python's parser counts them: ``splitlines`` would also end one at a form feed."""


class SantaCoderJudge:
    """Every line of a body that is not blank is a problem of its own."""

    def __init__(self, spec: SantaCoderFim) -> None:
        self.stop = spec.stop

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        return [hole for number, row in enumerate(rows) for hole in self._holes(number, row)]

    def _holes(self, number: int, row: Row) -> Iterator[Problem]:
        body, prompt = field(row, "body", "SantaCoder's task"), field(row, "prompt", "SantaCoder's task")
        for i, line in enumerate(body):
            if line.strip():
                yield Problem(
                    id=f"{number}/L{i}",
                    prompt=prompt + "".join(f"{before}\n" for before in body[:i]),
                    suffix="\n" + "\n".join(body[i + 1 :]),
                    answer=line,
                )

    def program(self, problem: Problem, completion: str) -> bool:
        return completion.strip() == problem.answer.strip()


class FimExactJudge:
    """Functions of held-out documents; the same ones for the same documents and seed."""

    def __init__(self, spec: FimExact, seed: int) -> None:
        self.stop = spec.stop
        self._spec, self._seed = spec, seed

    def problems(self, rows: Sequence[Row]) -> list[Problem]:
        """``rows`` have the documents' text."""
        found = {hashlib.sha256(f"{self._seed}:{f[0]}:{f[1]}".encode()).hexdigest(): f for f in _functions(rows)}
        taken = [found[key] for key in sorted(found)[: self._spec.functions]]
        return [hole for number, (text, span) in enumerate(taken) for hole in self._holes(number, text, span)]

    def _holes(self, number: int, text: str, span: tuple[int, int]) -> Iterator[Problem]:
        draw = random.Random(f"{self._seed}:{number}")
        lines = LINE.findall(text)
        starts = [0, *accumulate(map(len, lines))]
        ends = [start + len(line.rstrip("\r\n")) for start, line in zip(starts, lines, strict=False)]
        body = [i for i in range(*span) if lines[i].strip()]
        one = draw.choice(body)
        several = draw.choice(body)
        end = min(several + draw.randint(*SPAN), span[1])
        first, last = sorted(draw.randrange(starts[span[0]], starts[span[1]]) for _ in range(2))
        cuts = {
            "single_line": (starts[one], ends[one]),
            "multi_line": (starts[several], ends[end - 1]),
            "random_span": (first, last + 1),
        }
        for group, (begin, stop) in cuts.items():
            yield Problem(
                id=f"{number}/{group}",
                prompt=text[max(0, begin - self._spec.around) : begin],
                suffix=text[stop : stop + self._spec.around],
                answer=text[begin:stop],
                group=group,
            )

    def program(self, problem: Problem, completion: str) -> bool:
        """White space at either end is not asked for, as SantaCoder's task has it."""
        return completion.strip() == problem.answer.strip()


def _functions(rows: Iterable[Row]) -> Iterator[tuple[str, tuple[int, int]]]:
    """A document's text and the lines of a function's body in it, first and past the last."""
    for row in rows:
        text = row["text"]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the document's own escapes
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        lines = LINE.findall(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                docstring = ast.get_docstring(node, clean=False) is not None
                body = node.body[1:] if docstring else node.body
                if not body or not LINES[0] <= node.end_lineno - body[0].lineno + 1 <= LINES[1]:
                    continue
                # A body that begins behind the colon has no line of its own there.
                if not lines[body[0].lineno - 1].encode()[: body[0].col_offset].strip():
                    yield text, (body[0].lineno - 1, node.end_lineno)
