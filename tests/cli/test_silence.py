"""What is told of jobs while none of them ends, and of those that never began."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from albor.cli import silence
from albor.cli.points import job_of, show_end
from albor.executors.jobs import Ended
from albor.runs.manifest import InputRef, Manifest, save


def test_long_silence_is_broken_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    jobs = [job_of(tmp_path / f"tiny-{n}", tmp_path) for n in range(6)]
    of = silence.Silence(tmp_path)
    (tmp_path / "logs").mkdir()
    jobs[0].log.write_text("pretrain 1/9\rpretrain 2/9\n\n")
    told = []
    for clock[0] in range(100):
        of.look(jobs, 3)
        if said := capsys.readouterr().err:
            told.append((clock[0], said))
    assert [when for when, _ in told] == [10, 30, 70]
    first = told[0][1].splitlines()
    assert first[0] == f"after 10 s: 6 jobs, 3 to come; their output: {tmp_path / 'logs'}"
    assert first[1:3] == ["  tiny-0  pretrain 2/9", "  tiny-1  has not begun"] and first[-1] == "  and 2 more"
    assert "their output" not in told[1][1]
    of.broken()
    clock[0] += 9
    of.look(jobs, 3)
    of.look([], 0)
    assert capsys.readouterr().err == ""


def planned(place: Path, **more: object) -> Manifest:
    fields = {"version": 1, "label": "m", "status": "planned", "command": "", "config": {}, "id": place.name, **more}
    place.mkdir(parents=True, exist_ok=True)
    made = Manifest(stage=place.parent.name, **fields)  # type: ignore[arg-type]
    save(place, made)
    return made


def test_a_job_that_never_began_has_not_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    above, place = tmp_path / "pack/m-1", tmp_path / "pretrain/m-2"
    planned(above)
    planned(place, inputs={"rows": InputRef(stage="pack", id="1", path="../../pack/m-1/artifact")})
    job, cancelled = job_of(place, tmp_path), Ended("m-2", None, "Slurm job 7 ended as cancelled")
    assert not show_end(job, cancelled, "[1/2]")
    assert capsys.readouterr().err == "[1/2] pretrain/m-2  failed: Slurm job 7 ended as cancelled\n"
    assert not show_end(job, cancelled, "[1/2]", stopping=True)
    assert capsys.readouterr().err == "[1/2] pretrain/m-2  not started\n"
    save(above, planned(above).to("failed", error="the disk is full"))
    assert not show_end(job, cancelled, "[1/2]")
    assert capsys.readouterr().err == "[1/2] pretrain/m-2  not started: pack/m-1 failed\n"
    assert not show_end(job, Ended("m-2", 1), "[1/2]")
    assert capsys.readouterr().err == "[1/2] pretrain/m-2  failed: pack: the disk is full\n"
