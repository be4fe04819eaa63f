"""A stage's processes on machines that a scheduler gives, and what their end is recorded as."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from albor.errors import INTERRUPTED, AlborError
from albor.plan import apply, build
from albor.plan.nodes import Planner
from albor.runs import manifest
from albor.runs.manifest import Manifest
from albor.runs.world import HEARTBEAT, SPOKEN


class Slurm:
    """``srun`` as a script of ours, in a job of so many nodes."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place, self.monkeypatch = place, monkeypatch
        self.run_directory = place / "outputs/pretrain/m-1b1b"
        self.run_directory.mkdir(parents=True)
        (place / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")

    def does(self, body: str, *, nodes: int = 2) -> None:
        script = self.place / "bin/srun"
        script.write_text(f'#!/bin/sh\necho "$*" > {self.place}/asked\nfor run; do :; done\n{body}\n')
        script.chmod(0o755)
        self.monkeypatch.setenv("SLURM_JOB_NUM_NODES", str(nodes))

    def execute(self, **trainer: int) -> int:
        config: dict[str, Any] = {"trainer": {"nodes": 2, "devices": 3} | trainer}
        made = Manifest(stage="pretrain", version=1, id="1b1b", label="m", status="running", command="", config=config)
        manifest.save(self.run_directory, made)
        return build.execute(self.run_directory, made)

    @property
    def left(self) -> Manifest:
        return manifest.load(self.run_directory)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(tmp_path, monkeypatch)


def test_a_job_of_enough_nodes_starts_a_rank_for_each_device(slurm: Slurm) -> None:
    slurm.does("exit 0")
    assert slurm.execute() == 0
    asked = (slurm.place / "asked").read_text().split()
    assert asked[:2] == ["--nodes=2", "--ntasks-per-node=3"]
    assert asked[-4:] == [sys.executable, "-m", "albor.exec", str(slurm.run_directory)]


@pytest.mark.parametrize("nodes", [0, 1])
def test_without_such_a_job_the_command_for_each_machine_is_said(nodes: int, slurm: Slurm) -> None:
    slurm.does("exit 0", nodes=nodes)
    with pytest.raises(AlborError, match="runs on 2 machines, which cannot be started from here") as refused:
        slurm.execute()
    assert "albor.exec" in str(refused.value.help) and "in a Slurm job of 2 nodes" in str(refused.value.help)
    assert not (slurm.place / "asked").exists()


def test_an_interrupt_before_anybody_could_answer_is_recorded(slurm: Slurm) -> None:
    slurm.does(f"exit {INTERRUPTED}")
    assert slurm.execute() == INTERRUPTED
    assert slurm.left.status == "interrupted"


@pytest.mark.parametrize(
    ("spoken", "error"),
    [
        ("rank 1 has been reading for 9 s", "rank 1 has been reading for 9 s"),
        (None, "pretrain made no progress, in a call that kept Python's global lock"),
    ],
)
def test_a_hang_is_recorded_in_the_words_of_who_found_it(
    spoken: str | None, error: str, slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    speak = f"echo '{spoken}' > $run/{HEARTBEAT}/{SPOKEN};" if spoken else ""
    slurm.does(f"mkdir -p $run/{HEARTBEAT}; {speak} echo stack > $run/{HEARTBEAT}/hang-rank-1.txt; exit 1")
    assert slurm.execute() == 1
    assert (slurm.left.status, slurm.left.error) == ("failed", error)
    assert spoken or "hang-rank-1.txt" in capfd.readouterr().err


def test_a_hang_of_an_earlier_attempt_is_no_hang(slurm: Slurm) -> None:
    (slurm.run_directory / HEARTBEAT).mkdir()
    (slurm.run_directory / HEARTBEAT / "hang-rank-1.txt").write_text("stack")
    slurm.does("exit 1")
    slurm.execute()
    assert "no progress" not in str(slurm.left.error)


def test_training_on_a_device_that_is_not_here_is_refused(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.platform", "linux")
    plan = planner.plan(("stage=pretrain", "trainer.accelerator=mps"))
    with pytest.raises(AlborError, match="trains on mps, which this machine does not have") as refused:
        apply.check_machine(plan)
    assert refused.value.code == "E-DEVICE" and "trainer=cpu" in str(refused.value.help)


@pytest.mark.parametrize(
    ("stage", "accelerator", "given", "spins"),
    [
        ("pretrain", "cpu", {}, "1000"),
        ("pretrain", "cpu", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("pretrain", "cpu", {"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ("pretrain", "cuda", {}, None),
        ("prepare", "cpu", {}, None),
    ],
)
def test_a_training_on_processors_does_not_keep_them_from_others(
    stage: str,
    accelerator: str,
    given: dict[str, str],
    spins: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    config = {"trainer": {"nodes": 1, "devices": 1, "accelerator": accelerator}}
    run = Manifest(stage=stage, version=1, id="1b1b", label="m", status="planned", command="", config=config)
    assert build.launch(tmp_path, run).environment.get("GOMP_SPINCOUNT") == spins
