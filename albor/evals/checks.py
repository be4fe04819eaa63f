"""Programs that say for themselves whether they are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from albor.evals.sandbox.program import Script
from albor.evals.sandbox.workers import Sandbox, execute


def check(
    programs: Sequence[str],
    sandbox: Sandbox,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[bool]:
    """Whether each of ``programs`` (Python) comes to its end in the sandbox without raising, within its limits.

    A program that aims at this can pretend to: it is meant for text that nobody wrote for the purpose. Raises
    AlborError when no sandbox can be made.
    """
    passed = [False] * len(programs)
    verdicts = execute((Script(program=text) for text in programs), sandbox, workers=workers)
    for done, (index, verdict) in enumerate(verdicts, start=1):
        passed[index] = verdict.passed
        progress(done, len(programs))
    return passed
