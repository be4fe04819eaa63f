"""Where a run was made."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from albor.runs import environment


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    platform.platform()  # asks a program of the system's, once
    environment.describe.cache_clear()
    yield
    environment.describe.cache_clear()


def answers(monkeypatch: pytest.MonkeyPatch, *replies: tuple[int, str] | Exception) -> list[tuple[Any, ...]]:
    """Has git say these things, one after another; what it was asked."""
    asked: list[tuple[Any, ...]] = []
    left = list(replies)

    def run(*args: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append((*args, options))
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return subprocess.CompletedProcess(args[0], reply[0], reply[1], "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


OURS = (0, "albor/runs/environment.py\n")
OPTIONS = {"capture_output": True, "text": True, "timeout": 5, "check": False}


def test_everything_that_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, OURS, (0, "c0ffee\n"), (0, " M albor/x.py\n"))
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(os, "sched_getaffinity", {0: {0, 1, 5}}.__getitem__)
    monkeypatch.setattr(platform, "node", lambda: "here")
    monkeypatch.setattr(environment, "installed", lambda package: f"{package} 2")
    (tmp_path / "requirements.lock").write_bytes(b"torch==2\n")
    assert environment.describe() == {
        "git_commit": "c0ffee",
        "git_dirty": True,
        "lock_sha256": hashlib.sha256(b"torch==2\n").hexdigest(),
        "albor": "albor 2",
        "torch": "torch 2",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": 3,
        "omp_num_threads": "3",
        "host": "here",
        "executable": sys.executable,
    }
    options = {**OPTIONS, "cwd": tmp_path}
    assert asked == [
        (["git", "ls-files", "--error-unmatch", "albor/runs/environment.py"], options),
        (["git", "rev-parse", "HEAD"], options),
        (["git", "status", "--porcelain", "--untracked-files=no"], options),
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_that_of_albors_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    (tmp_path / "albor/runs").mkdir(parents=True)
    (tmp_path / "albor/runs/environment.py").write_text("")
    (tmp_path / "requirements.lock").write_text("")
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "somebody's project, with albor installed in it")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    found = environment.describe()
    assert (found["git_commit"], found["git_dirty"], found["lock_sha256"]) == (None, None, None)
    git("add", "albor")
    git("commit", "-q", "-m", "albor's checkout")
    environment.describe.cache_clear()
    found = environment.describe()
    assert found["git_commit"] == git("rev-parse", "HEAD").strip() and found["git_dirty"] is False
    assert found["lock_sha256"] == hashlib.sha256(b"").hexdigest()


def test_git_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, OURS, (0, "c0ffee\n"), (0, "\n"))
    assert environment.describe() is environment.describe()
    assert environment.describe()["git_dirty"] is False
    assert len(asked) == 3


@pytest.mark.parametrize(
    "reply",
    [(128, ""), (128, "fatal"), FileNotFoundError("git"), subprocess.TimeoutExpired("git", 5)],
    ids=["no repository", "words", "no git", "no answer"],
)
def test_without_git_the_rest_is_recorded(
    reply: tuple[int, str] | Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, reply)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = environment.describe()
    assert len(asked) == 1, "nothing is dirty where there is no commit"
    for name in ("git_commit", "git_dirty", "lock_sha256", "omp_num_threads"):
        assert found[name] is None
    assert found["executable"] == sys.executable


def test_whether_a_commit_is_dirty_may_stay_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, OURS, (0, "c0ffee"), (1, "x"))
    assert environment.describe()["git_dirty"] is False


def test_processors_of_a_system_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, (1, ""))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    assert environment.describe()["cpus"] == 77


def test_versions_of_packages() -> None:
    assert environment.installed("pytest") == pytest.__version__
    assert environment.installed("no-such-package-at-all") is None
