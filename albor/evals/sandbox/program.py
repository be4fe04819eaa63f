"""What can be run in a sandbox, and what comes back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "error", "crashed", "timeout"]
"""Passed its tests; one of them did not hold; raised; its process died; was still running at its limit."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may take."""

    seconds: float = 3.0
    """Processor time of all its processes, its tests included; it may last three times as long."""
    memory: int = 1 << 30
    """Bytes of address space of a process, and of memory of all its processes together."""
    disk: int = 32 << 20
    """Bytes that it may write."""
    processes: int = 16
    """Processes and threads at the same time."""


@dataclass(frozen=True, kw_only=True)
class Functions:
    """Python whose functions are called by tests that run in another process."""

    program: str
    test: str
    """Trusted code that ends without raising when the program is right."""
    reference: str = ""
    """Trusted code run before the test: imports and helpers that the test may use."""
    entry_point: str | None = None
    """The one name that is the program's although the reference defines it too."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """Python that holds its own tests: it passes by coming to its end. A program that aims at this harness can pretend
    that it has."""

    program: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program in any language: files, and commands that compile and run it.

    The last command must print ``word``, which the tests in the files do when all have passed.
    """

    files: Mapping[str, str]
    steps: Sequence[Sequence[str]]
    word: str = field(default_factory=lambda: secrets.token_hex(16))


Program = Functions | Script | Command


@dataclass(frozen=True)
class Verdict:
    """How a program did."""

    status: Status
    detail: str
    """The assertion that failed, or the error."""
    seconds: float

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def job(program: Program) -> dict[str, Any]:
    """What a sandbox is sent."""
    return {"kind": type(program).__name__.lower(), **asdict(program)}
