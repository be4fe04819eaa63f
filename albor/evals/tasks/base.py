"""What every benchmark is: problems to complete, and a judgment about completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from albor.evals.files import Row
from albor.evals.sandbox.program import Program


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of a benchmark."""

    id: str
    prompt: str
    """What the model continues; with a suffix, what precedes the hole."""
    answer: str
    """A completion that is right."""
    suffix: str | None = None
    """What follows the hole; None when there is none to fill."""
    group: str | None = None
    """What part of the benchmark it belongs to, when parts are reported too."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """The file's own record."""


class Judge(Protocol):
    """How completions of one task are judged: by running a program, or by looking."""

    stop: tuple[str, ...]

    def problems(self, rows: Sequence[Row]) -> list[Problem]: ...

    def program(self, problem: Problem, completion: str) -> Program | bool:
        """What to run, or the verdict where nothing needs to be run."""
