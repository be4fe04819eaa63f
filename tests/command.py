"""albor as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "albor")
TIMEOUT = 600
"""Seconds after which a command is not slow but stuck."""


def albor(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``albor WORDS`` in a directory, to its end; ``environment`` is added to this process's."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def succeeds(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``albor WORDS`` for what it leaves; a test that rests on it fails with what it said."""
    done = albor(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done
