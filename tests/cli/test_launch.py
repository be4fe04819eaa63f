"""What Hydra itself is asked, and what is said when it cannot do its part."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albor.cli import main
from albor.cli.launch import from_hydra
from tests.command import albor as in_a_process

Albor = Callable[..., Any]


def test_hydras_own_flags_are_hydras(tmp_path: Path) -> None:
    done = in_a_process("--hydra-help", cwd=tmp_path)
    assert done.returncode == 0 and "Hydra" in done.stdout, done.stderr
    done = in_a_process("--info", "plugins", "up.pack.seed=3", cwd=tmp_path)
    assert done.returncode == 0 and "Installed Hydra Plugins" in done.stdout, done.stderr


def test_what_hydra_cannot_compose_is_refused(tmp_path: Path) -> None:
    done = in_a_process("--info", "config", "mode=nothing", cwd=tmp_path)
    assert done.returncode == 2 and "mode" in done.stderr and "Traceback" not in done.stderr


def test_a_launcher_that_is_not_installed_is_named_before_anything_is_made(albor: Albor, tmp_path: Path) -> None:
    done = albor("-m", "stage=prepare", "seed=1,2", "hydra/launcher=nowhere")
    assert done.code == 2 and "hydra/launcher" in done.err and "joblib, ray, submitit_slurm" in done.err
    assert not (tmp_path / "outputs").exists()


def test_hydras_first_line_is_the_cause_and_the_rest_what_there_is() -> None:
    long = "Could not find 'x/y'\n\nAvailable options:\n  a\n  b\nConfig search path:\n  here\n"
    problem = from_hydra(ValueError(long))
    assert (problem.cause, problem.help) == ("Could not find 'x/y'", "Available options: a b")
    assert from_hydra(ValueError("")).cause == "ValueError"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (PermissionError(13, "Permission denied"), "ermission"),
    ],
)
def test_what_the_system_refuses_is_an_error_of_one_line(
    error: OSError, words: str, albor: Albor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr(main, "dispatch", fail)
    done = albor("runs")
    assert done.code in (1, 2) and words in done.err and "Traceback" not in done.err


def test_who_closes_the_pipe_has_seen_enough(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "albor", "contracts"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0 and said == b""


def test_completion_is_installed_by_hydra_and_answered_here(
    albor: Albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = in_a_process("-sc", "install=bash", cwd=tmp_path)
    assert done.returncode == 0 and "complete -o nospace" in done.stdout, done.stderr
    monkeypatch.setenv("COMP_LINE", "albor ls ")
    assert {"model", "stage", "task"} <= set(albor("-sc", "query=bash").out.split())
