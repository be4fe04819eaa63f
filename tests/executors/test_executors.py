"""What every executor owes: the results in order, every failure, nothing hidden."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from pathlib import Path

import pytest

from albor.config.schema.run import LocalExecutor, RayExecutor, SlurmExecutor, SlurmStages
from albor.config.schema.sweep import SlurmLauncher
from albor.data.errors import DataError
from albor.errors import AlborError
from albor.executors import Executor, open_executor
from albor.executors.jobs import Job, Shape
from albor.executors.ray_tasks import check_address
from albor.executors.slurm_jobs import SlurmArray, SlurmChain
from tests.cluster.slurm import NEEDS_SLURM, fake_slurm
from tests.executors import work
from tests.executors.conftest import RAY, SLURM


def test_results_come_in_the_order_of_the_tasks(executor: Executor) -> None:
    seen: dict[int, int] = {}
    assert executor.map(work.square, range(11), seen.__setitem__) == [n * n for n in range(11)]
    assert seen == {n: n * n for n in range(11)}
    assert executor.map(functools.partial(work.power, 3), [5, 4]) == [125, 64]
    assert executor.map(work.square, []) == []
    assert executor.map(work.square, [7]) == [49]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (3, DataError, "no. 3 is empty"),
        (4, ZeroDivisionError, "no. 4"),
    ],
)
def test_a_failing_task_fails_the_map(executor: Executor, number: int, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        executor.map(work.fail, [1, 2, number])
    if isinstance(caught.value, AlborError):
        assert (caught.value.code, caught.value.help) == ("E-DATA", "fill it")
    if executor.workers > 1:
        assert "in fail" in str(caught.value.__cause__)
    assert executor.map(work.square, [2, 3]) == [4, 9], "an executor can be used again"


@pytest.mark.parametrize(
    ("number", "words"), [(5, "Fussy: because of no. 5"), (6, "SystemExit: 6"), (7, "local object.*lambda")]
)
def test_what_cannot_be_sent_is_told(executor: Executor, number: int, words: str) -> None:
    if executor.workers > 1:  # in one process nothing is sent
        with pytest.raises((RuntimeError, AttributeError), match=words) as caught:
            executor.map(work.fail, [1, number])
        assert "Traceback" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("how", "words"), [("exit", "exit code 3"), ("kill", "SIGKILL.*memory"), ("segfault", "SIGSEGV")]
)
def test_a_process_that_dies_is_an_error(how: str, words: str, tmp_path: Path) -> None:
    with open_executor(LocalExecutor(workers=2), directory=tmp_path) as pool:
        with pytest.raises(AlborError, match=f"the process of task 1 .*{words}") as caught:
            pool.map(work.die, ["", how, ""])
        assert caught.value.exit_code == 1 and "executor.workers=1" in str(caught.value.help)
        assert pool.map(work.square, [2, 3]) == [4, 9]


@pytest.mark.parametrize("task", [pytest.param("ray", marks=[*RAY, pytest.mark.slow])])
def test_a_process_that_dies_on_ray_is_an_error(task: str, ray_executor: Executor) -> None:
    with pytest.raises(AlborError, match="Ray lost the process of task 0") as caught:
        ray_executor.map(work.die, ["exit", ""])
    assert caught.value.exit_code == 1 and "executor.workers=1" in str(caught.value.help)


@pytest.mark.parametrize("how", [pytest.param("exit", marks=NEEDS_SLURM), pytest.param("kill", marks=NEEDS_SLURM)])
def test_a_job_that_dies_is_an_error_with_the_end_of_its_log(how: str, tmp_path: Path, slurm: Path) -> None:
    with open_executor(SLURM, directory=tmp_path) as jobs:
        with pytest.raises(AlborError, match=rf"exit code (3|137)(.|\n)*last words before {how}") as caught:
            jobs.map(work.die, [how, ""])
        assert Path(str(caught.value.place)).is_file() and "executor.memory" in str(caught.value.help)


@pytest.mark.parametrize("tasks", [pytest.param(50, marks=NEEDS_SLURM)])
def test_many_tasks_are_few_jobs(tasks: int, tmp_path: Path, slurm: Path) -> None:
    with open_executor(dataclasses.replace(SLURM, workers=1), directory=tmp_path) as jobs:
        assert jobs.map(work.square, range(tasks)) == [n * n for n in range(tasks)]
    assert len(list(tmp_path.glob("slurm/map-*/share-*.log"))) == 4
    assert not list(tmp_path.rglob("*.pickle")), "logs stay, data do not"


def test_slurm_that_is_not_here_or_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AlborError, match="sbatch") as caught, open_executor(SlurmExecutor(), directory=tmp_path):
        raise AssertionError
    assert "executor=local" in str(caught.value.help)
    fake_slurm(tmp_path, "invalid partition specified: gold")
    monkeypatch.chdir(tmp_path)
    config = SlurmExecutor(partition="gold", account="a", time=90.0, memory=3 * 2**29)
    with (
        open_executor(config, directory=tmp_path) as jobs,
        pytest.raises(AlborError, match="partition specified: gold") as caught,
    ):
        jobs.map(work.square, [1, 2])
    assert caught.value.place == "executor.partition=gold" and "sinfo" in str(caught.value.help)
    asked = (tmp_path / "asked").read_text()
    for words in ("--array=0-1%16", "--time=2", "--mem=1536M", "--cpus-per-task=1", "--partition=gold", "--account=a"):
        assert words in asked


@pytest.mark.parametrize(
    ("said", "config", "place"),
    [
        ("Invalid partition name specified", SlurmExecutor(partition="gold"), "executor.partition=gold"),
        (
            "Invalid partition name specified",
            SlurmExecutor(partition="main", stages=SlurmStages(partition="gold")),
            "executor.stages.partition=gold",
        ),
        (
            "Invalid qos specification",
            SlurmExecutor(stages=SlurmStages(options={"qos": "high"})),
            "executor.stages.options.qos=high",
        ),
        (
            "Invalid account or account/partition combination specified",
            SlurmExecutor(partition="main", account="nobody"),
            "executor.account=nobody",
        ),
        ("Requested node configuration is not available", SlurmExecutor(partition="main"), "executor"),
        ("Invalid partition name specified", SlurmExecutor(), "executor"),
        (
            "Invalid feature specification",
            SlurmLauncher(constraint="fast", partition="main"),
            "hydra.launcher.constraint=fast",
        ),
        (
            "Invalid partition name specified",
            SlurmLauncher(additional_parameters={"partition": "gold"}),
            "hydra.launcher.additional_parameters.partition=gold",
        ),
    ],
)
def test_what_slurm_does_not_take_is_told_by_its_key(
    said: str,
    config: SlurmExecutor | SlurmLauncher,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_slurm(tmp_path, said)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    job = Job("a", ("true",), tmp_path / "log")
    with pytest.raises(AlborError, match=said) as caught:
        if isinstance(config, SlurmExecutor):
            SlurmChain(config, tmp_path / "jobs").start(job, Shape(), ())
        else:
            SlurmArray(config, tmp_path / "jobs", Shape()).start([job])
    assert caught.value.place == place and str(caught.value.help).startswith(f"correct {place.partition('=')[0]}: ")


@pytest.mark.parametrize("task", [pytest.param(1, marks=NEEDS_SLURM)])
def test_a_cluster_that_is_down_is_said(
    task: int, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "slurm.conf"
    broken.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", slurm.read_text()) + "MessageTimeout=1\n")
    monkeypatch.setenv("SLURM_CONF", str(broken))
    with open_executor(SLURM, directory=tmp_path) as jobs, pytest.raises(AlborError, match="squeue fails") as caught:
        jobs.map(work.square, [task])
    assert caught.value.exit_code == 1 and "sinfo" in str(caught.value.help)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(AlborError, match="needs ray") as caught, open_executor(RayExecutor(), directory=tmp_path):
        raise AssertionError
    assert caught.value.help == 'pip install "albor[cluster]"'


@pytest.mark.parametrize("kind", [pytest.param("ray", marks=[*RAY, pytest.mark.slow])])
def test_a_running_ray_cluster_is_joined(kind: str, ray_executor: Executor, tmp_path: Path) -> None:
    with open_executor(RayExecutor(workers=3), directory=tmp_path) as joined:
        assert joined.workers == 3 and joined.map(work.square, [3]) == [9]
    assert ray_executor.map(work.square, [3]) == [9], "what was not started is not stopped"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "no.such.host.invalid:6379"])
def test_a_ray_cluster_that_is_not_there(address: str) -> None:
    with pytest.raises(AlborError, match="no Ray cluster at") as caught:
        check_address(address, "executor.address")
    assert caught.value.place == "executor.address"


def test_threads_are_set_in_processes_and_not_here(executor: Executor) -> None:
    before = os.environ.get("RAYON_NUM_THREADS")
    results = executor.map(work.environment, ["RAYON_NUM_THREADS"] * 3)
    assert os.environ.get("RAYON_NUM_THREADS") == before
    if executor.workers == 1:
        assert results == [(os.getpid(), before)] * 3
    else:
        assert all(pid != os.getpid() and value == "1" for pid, value in results)
        assert executor.map(work.arrow, [0, 0])[0][1] == 1


def test_a_pool_starts_nothing_before_it_must(tmp_path: Path) -> None:
    with open_executor(LocalExecutor(workers=2), directory=tmp_path) as pool:
        assert pool.map(work.environment, ["HOME"])[0][0] == os.getpid()
        first = {pid for pid, _ in pool.map(work.environment, ["HOME"] * 40)}
        second = {pid for pid, _ in pool.map(work.environment, ["HOME"] * 40)}
        assert os.getpid() not in first and second <= first | second and len(first | second) == 2
    with open_executor(LocalExecutor(workers=0), directory=tmp_path) as pool:
        assert pool.workers >= 1
