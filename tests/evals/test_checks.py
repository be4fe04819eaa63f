"""Functions of the standard library's own files, run for real."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from albor.data.documents import Document
from albor.data.functions import candidates
from albor.evals.checks import check
from albor.evals.sandbox.program import Limits
from albor.evals.sandbox.workers import Sandbox

pytestmark = [
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
    pytest.mark.xdist_group("sandbox"),
]
TEXT = '''
import time

def right(x):
    """One more than x.

    >>> right(1)
    2
    """
    return x + 1

def wrong(x):
    """One more than x, or so it says.

    >>> wrong(1)
    2
    """
    return x + 2

def untested(x):
    """Nothing is said of what it gives."""
    return x * 3

def raising(x):
    """Its test raises.

    >>> raising(1)
    1
    """
    return x / 0

def endless(x):
    """Its test does not end.

    >>> endless(1)
    """
    while True:
        time.monotonic()

def documented(x):
    """Its test expects what is raised.

    >>> documented(1)
    Traceback (most recent call last):
    ZeroDivisionError: division by zero
    """
    return x // (x - x) or 1 / 0 if x != x else 1 / 0

def default(x=open("/etc/nothing")):
    """The definition itself does not run."""
    return x
'''


def test_what_passes_its_own_tests_passes() -> None:
    made = list(candidates([Document(TEXT, "test", "p", "", "p.py", "MIT")]))
    seen: list[tuple[int, int]] = []
    passed = check(
        [candidate.program for candidate in made],
        Sandbox.of_this_python(Limits(seconds=1.0)),
        workers=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert {c.name for c, ok in zip(made, passed, strict=True) if ok} == {"right", "untested", "documented"}
    assert {c.name for c in made} == {
        "right", "wrong", "untested", "raising", "endless", "documented", "default"
    }  # fmt: skip
    assert seen == [(n, 7) for n in range(1, 8)]


def test_nothing_is_harmed_and_nothing_to_check_is_nothing(tmp_path: Path) -> None:
    target = tmp_path / "written"
    sandbox = Sandbox.of_this_python()
    assert check([f"open({str(target)!r}, 'w').write('x')"], sandbox, workers=1) == [False]
    assert not target.exists()
    assert check([], sandbox, workers=1) == []
