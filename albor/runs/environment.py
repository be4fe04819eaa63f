"""Where a run was made: recorded in its manifest, never part of its id."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""What albor's package lies in: its checkout, or where it is installed."""


def _git(*args: str) -> str | None:
    """What git says of albor's own checkout, wherever a run was started."""
    try:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed(package: str) -> str | None:
    """A package's version without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def describe() -> dict[str, Any]:
    """Git commit of albor's code and hash of its lock file, where it runs from a checkout; versions and machine."""
    # An albor that is installed may lie in a repository, too: in the virtual environment of somebody's project.
    ours = _git("ls-files", "--error-unmatch", "albor/runs/environment.py") is not None
    commit = _git("rev-parse", "HEAD") if ours else None
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None
    lock = ROOT / "requirements.lock"
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if commit and lock.exists() else None,
        "albor": installed("albor"),
        "torch": installed("torch"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "host": platform.node(),
        "executable": sys.executable,
    }
