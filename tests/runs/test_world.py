"""Who of a run a process is, by the variables of whoever started it, and what it says when it fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from albor.runs import world
from albor.runs.world import World, adopt_slurm, failures, first_host, join, start_by_hand

SLURM = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No one has started this process; what a test sets is taken back, by name or not."""
    own = {
        k: v for k, v in os.environ.items() if not k.startswith("SLURM") and k not in (*world.DEFAULTS, "MASTER_ADDR")
    }
    for name in (world.FAILURES, world.LIFELINE):
        own.pop(name, None)
    monkeypatch.setattr(os, "environ", own)


def test_a_process_that_nobody_started_is_alone() -> None:
    assert join() == World(rank=0, local_rank=0, size=1) == World()


def test_torchrun_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    os.environ.update(RANK="5", LOCAL_RANK="1", WORLD_SIZE="8")
    assert join() == World(5, 1, 8)
    os.environ.update(SLURM | {"SLURM_PROCID": "7"})
    assert join() == World(5, 1, 8), "torchrun within a Slurm step"


def test_a_task_of_a_slurm_step() -> None:
    os.environ.update(SLURM)
    assert join() == World(5, 1, 8)
    assert os.environ["MASTER_ADDR"] == "gpu03"
    assert join() == World(5, 1, 8)


def test_a_batch_script_is_no_task() -> None:
    os.environ.update({name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"})
    assert join() == World()


def test_what_torch_reads_of_slurm() -> None:
    environment = dict(SLURM)
    adopt_slurm(environment)
    assert {name: value for name, value in environment.items() if name not in SLURM} == {
        "RANK": "5",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "GROUP_RANK": "2",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": str(15_000 + 1000 * 101 % 15_000),
    }


def test_older_names_of_slurm_s_variables() -> None:
    environment = {name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_LOCALID")}
    environment |= {"SLURM_NTASKS": "2", "SLURM_NODELIST": "a,b"}
    adopt_slurm(environment)
    assert environment["WORLD_SIZE"] == "2" and environment["MASTER_ADDR"] == "a"
    assert environment["GROUP_RANK"] == "0"


def test_the_step_counts_and_not_the_job() -> None:
    environment = SLURM | {"SLURM_NTASKS": "64", "SLURM_NODELIST": "other"}
    adopt_slurm(environment)
    assert environment["WORLD_SIZE"] == "8" and environment["MASTER_ADDR"] == "gpu03"


@pytest.mark.parametrize(
    "sizes", [{"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, {"SLURM_NTASKS": "1"}, {}], ids=str
)
def test_a_step_of_one_task_is_left_alone(sizes: dict[str, str]) -> None:
    environment = {"SLURM_PROCID": "0", **sizes}
    before = dict(environment)
    adopt_slurm(environment)
    assert environment == before


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("login", "login"),
        ("a,b", "a"),
        ("gpu[03-05,9]-b,login", "gpu03-b"),
        ("gpu[7]", "gpu7"),
        ("gpu[7,9]", "gpu7"),
        ("r[1-2]n[03-04]", "r1n03"),
        ("r[1,3]n[7-9].site,x", "r1n7.site"),
        ("a-b,c[1-2]", "a-b"),
        ("", ""),
        (",a", ",a"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_steps_beside_each_other_have_ports_of_their_own() -> None:
    def port(job: int, step: int) -> int:
        environment = SLURM | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}
        adopt_slurm(environment)
        return int(environment["MASTER_PORT"])

    ports = [port(job, step) for job in (1, 2, 123456, 123457) for step in range(4)]
    assert len(set(ports)) == len(ports) and {15_000 <= p < 30_000 for p in ports} == {True}
    assert port(1, 0) == 15_101 and port(1, 1) == 15_102 and port(2, 1) == 15_203


@pytest.mark.parametrize(("rank", "said"), [(0, "it broke\n"), (1, "rank 1: it broke\n"), (12, "rank 12: it broke\n")])
def test_a_rank_that_nobody_collects_from_says_why_itself(
    rank: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    World(rank, 0, 16).report("it broke", "cause")
    assert capsys.readouterr() == ("", said)


def test_it_says_so_before_it_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []

    def recorded(*_: Any, **options: Any) -> None:
        flushed.append(options["flush"])

    monkeypatch.setattr("builtins.print", recorded)
    World().report("it broke", "cause")
    assert flushed == [True]


@pytest.mark.usefixtures("other_encoding")
def test_failures_are_collected_by_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([10.5, 9.25])
    monkeypatch.setattr("time.time", lambda: next(times))
    os.environ[world.FAILURES] = str(tmp_path)
    World(0, 0, 16).report("error: é\n  help: …", "é")
    World(12, 4, 16).report("second", "later")
    assert capsys.readouterr() == ("", "")
    (tmp_path / ".3").write_text("half")
    assert failures(tmp_path) == {
        0: world.Failure(10.5, "error: é\n  help: …", "é"),
        12: world.Failure(9.25, "second", "later"),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"0", "12", ".3"}
    (tmp_path / "0").write_bytes('{"at": 1, "text": "é", "cause": ""}'.encode())
    assert failures(tmp_path)[0].text == "é"


def test_a_failure_is_never_seen_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written beside and then put in its place."""
    os.environ[world.FAILURES] = str(tmp_path)
    seen, replace = [], Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((self, target, json.loads(self.read_text())["text"], target.exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    World(2, 2, 4).report("text", "cause")
    assert seen == [(tmp_path / ".2", tmp_path / "2", "text", False)]


def test_the_log_of_a_rank(tmp_path: Path) -> None:
    assert world.rank_log(tmp_path, 3) == tmp_path / "rank-3.log"


@pytest.mark.parametrize(
    ("nodes", "devices", "command"),
    [
        (1, 1, "python -m albor.exec {}"),
        (1, 4, "torchrun --standalone --nproc-per-node 4 -m albor.exec {}"),
        (
            2,
            1,
            "torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:15000 "
            "--rdzv-id x-12 -m albor.exec {}",
        ),
        (
            2,
            2,
            "torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint HOST:15000 "
            "--rdzv-id x-12 -m albor.exec {}",
        ),
        (
            2,
            8,
            "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:15000 "
            "--rdzv-id x-12 -m albor.exec {}",
        ),
    ],
)
def test_the_command_without_albor(
    nodes: int, devices: int, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert start_by_hand(Path("pretrain/x-12"), nodes, devices) == command.format(tmp_path / "pretrain/x-12")
