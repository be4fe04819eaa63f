"""The store of runs: what it lists, and whose a run is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest

from albor.errors import AlborError
from albor.runs import manifest
from albor.runs.checkpoints import run_around, run_of
from albor.runs.manifest import Manifest
from albor.runs.store import Store, holder, lives


def made(place: Path, name: str = "1b1b", **more: Any) -> Manifest:
    run = Manifest(stage="pack", version=1, id=name, label="m", status="running", command="", config={}, **more)
    place.mkdir(parents=True, exist_ok=True)
    manifest.save(place, run)
    return run


def test_a_run_that_cannot_be_read_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "pack/m-2b", "2b", created=2.0)
    made(tmp_path / "pack/m-1b", "1b", created=1.0)
    broken = tmp_path / "pack/m-3b"
    broken.mkdir()
    (broken / manifest.NAME).write_text("schema: 0\n")
    assert [run.manifest.id for run in Store(tmp_path).runs()] == ["1b", "2b"]
    assert f"left out: {broken}: a manifest of schema 0" in capsys.readouterr().err


def test_a_run_lives_as_long_as_the_process_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, environment={"host": platform.node()})
    assert holder(tmp_path) is None and lives(tmp_path, run) is None
    (tmp_path / ".lock").write_text("no number")
    assert holder(tmp_path) is None
    (tmp_path / ".lock").write_text(f"{os.getpid()}")
    assert lives(tmp_path, run) is True
    (tmp_path / ".lock").write_text(f"{2**22 + 1}")  # beyond what Linux gives
    assert lives(tmp_path, run) is False
    assert lives(tmp_path, made(tmp_path, environment={"host": "elsewhere"})) is None

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert lives(tmp_path, run) is True  # somebody else's


def test_a_checkpoint_knows_the_run_that_it_lies_in(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run/checkpoints/step-4"
    checkpoint.mkdir(parents=True)
    assert run_around(checkpoint) is None
    with pytest.raises(AlborError, match="it holds no"):
        run_of(checkpoint)
    made(tmp_path / "run")
    around = run_around(checkpoint)
    assert around is not None and around.manifest.id == "1b1b" and around.directory == tmp_path / "run"
