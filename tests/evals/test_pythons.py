"""The interpreters and tools that programs are run by, and what is said when they are not there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from albor.cli.verbs import doctor
from albor.errors import AlborError
from albor.evals.sandbox.bubblewrap import python_at, refuse_without, this_python


def test_another_interpreter_says_where_its_modules_lie() -> None:
    found = python_at(sys.executable)
    assert (found.executable, found.prefix) == (os.path.realpath(sys.executable), sys.base_prefix)
    assert set(found.path) <= set(this_python().path) and found.path


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    silent, fails = tmp_path / "silent", tmp_path / "fails"
    silent.write_text("#!/bin/sh\nexit 0\n")
    fails.write_text("#!/bin/sh\nexit 3\n")
    for script in (silent, fails):
        script.chmod(0o755)
    for path in (silent, fails, tmp_path / "gone"):
        with pytest.raises(AlborError, match=f"eval.python={path} is no Python that runs"):
            python_at(str(path))


def test_a_tool_is_looked_for_where_programs_find_it() -> None:
    assert Path(refuse_without("sh")).name == "sh"
    with pytest.raises(AlborError, match="need no-such-tool, which is not in /usr/local/bin") as refused:
        refuse_without("no-such-tool")
    assert refused.value.code == "E-SANDBOX"


def test_where_there_is_no_bubblewrap_the_help_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(AlborError) as refused:
        refuse_without("bwrap")
    assert "it exists on Linux only" in str(refused.value.help)


@pytest.mark.parametrize(
    ("body", "verdict", "text"),
    [
        ("echo 'NVIDIA H100, 81559 MiB, 550.1'", "ok", "NVIDIA H100, 81559 MiB, 550.1"),
        ("echo 'no driver' >&2; exit 9", "lacks", "no driver"),
        ("exit 9", "lacks", "nvidia-smi shows none"),
    ],
)
def test_the_doctor_shows_what_the_driver_says(
    body: str, verdict: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (gpu,) = [check for check in doctor.devices(tmp_path) if check.name == "gpu"]
    assert (gpu.verdict, gpu.text) == (verdict, text)


def test_the_doctor_says_why_there_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    (check,) = doctor.sandbox(tmp_path)
    assert check.verdict == "lacks" and "bubblewrap" in check.text
