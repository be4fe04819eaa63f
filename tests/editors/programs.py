"""Where the editors are that tests start, and what they start themselves."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "editors"
ANSWER = "add(a, b):\n    return a + b"
"""Of a function that begins with `def `."""
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
"""Where no other language server of this environment is."""
PRESERVED = ("HOME", "LANG", "TMPDIR", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def program(variable: str, name: str) -> str:
    """The path of an editor. Skips the test where there is none."""
    found = os.environ.get(variable) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is neither on PATH nor named by {variable}: editors/install.sh DIR")
    return found


def environment(home: Path, **more: str) -> dict[str, str]:
    """What an editor sees: nothing of the user's own settings, and a `albor` that is this one."""
    command = home / "bin" / "albor"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m albor "$@"\n')
    command.chmod(0o755)
    kept = {name: os.environ[name] for name in PRESERVED if name in os.environ}
    xdg = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    path = f"{command.parent}:{SYSTEM}"
    here = f"{ROOT}:{kept['PYTHONPATH']}" if "PYTHONPATH" in kept else str(ROOT)
    return (
        kept
        | xdg
        | {"PATH": path, "PYTHONPATH": here, "XDG_RUNTIME_DIR": str(runtime), "TERM": "xterm-256color"}
        | more
    )
