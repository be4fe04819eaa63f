"""Data steps and sweeps on a Ray cluster of two nodes, both of them this machine: what comes out is what comes out
here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from albor.config.schema.run import RayExecutor
from albor.executors import open_executor
from albor.runs.manifest import load
from tests.cluster.slurm import free_ports, until
from tests.command import COMMAND, succeeds
from tests.command import albor as command
from tests.executors import work
from tests.executors.conftest import RAY
from tests.small_corpus import TINY, write_corpus

pytestmark = [*RAY, pytest.mark.slow]

RAY_PROGRAM = Path(sys.executable).with_name("ray")


def start_node(*words: str, log: Path) -> subprocess.Popen[bytes]:
    """A node's processes, in a group of their own, until it is ended."""
    quiet = ("--disable-usage-stats", "--num-cpus=1", "--num-gpus=0", "--block", "--include-dashboard=false")
    with log.open("wb") as out:
        return subprocess.Popen(
            [str(RAY_PROGRAM), "start", *words, *(q for q in quiet if "--head" in words or "dashboard" not in q)],
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"},
        )


def nodes(address: str) -> int:
    """Nodes of the cluster that are alive."""
    script = f"import ray; ray.init('{address}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.split() else 0


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("ray-nodes")
    head = place / "head.log"
    running = [start_node("--head", f"--port={free_ports(1)[0]}", log=head)]
    try:
        # Ray takes the machine's own address, whatever it is told.
        until(lambda: "--address='" in head.read_text(), 120)
        address = head.read_text().split("--address='")[1].split("'")[0]
        running.append(start_node(f"--address={address}", log=place / "second.log"))
        until(lambda: nodes(address) == 2, 120)
        yield address
    finally:
        for process in reversed(running):
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_corpus(tmp_path)
    return tmp_path


def digests(store: Path) -> dict[str, str | None]:
    return {run.id: run.digest for path in store.glob("[a-z]*/*") if (run := load(path)).status == "done"}


def test_data_steps_on_two_nodes_make_the_same_bytes(ray_address: str, place: Path) -> None:
    words = (*TINY, "stage=pack")
    there = command(*words, "executor=ray", f"executor.address={ray_address}", cwd=place)
    assert there.returncode == 0, there.stderr
    succeeds(*words, "outputs=here", cwd=place)
    assert digests(place / "outputs") == digests(place / "here") and len(digests(place / "here")) == 3


def test_a_sweep_on_two_nodes_makes_the_same_bytes(ray_address: str, place: Path) -> None:
    words = ("-m", *TINY, "stage=pretrain", "seed=1,2")
    there = command(*words, "hydra/launcher=ray", f"hydra.launcher.address={ray_address}", cwd=place)
    assert there.returncode == 0 and "2 of 2 points done" in there.stderr, there.stderr
    succeeds(*words, "outputs=here", cwd=place)
    assert digests(place / "outputs") == digests(place / "here")


def test_ctrl_c_has_the_points_on_ray_save(ray_address: str, place: Path) -> None:
    long = (*TINY, "stage=pretrain", "trainer.max_steps=3000", "trainer.epochs=200", "trainer.save_every=3000")
    words = ("-m", *long, "optim.lr=1e-3,2e-3", "hydra/launcher=ray", f"hydra.launcher.address={ray_address}")
    sweep = subprocess.Popen([*COMMAND, *words], cwd=place, stderr=subprocess.PIPE, text=True)
    until(lambda: sum(p.read_text().count("\n") > 5 for p in place.glob("outputs/pretrain/*/metrics.jsonl")) == 2, 180)
    sweep.send_signal(signal.SIGINT)
    _, said = sweep.communicate(timeout=120)
    assert sweep.returncode == 75, said
    assert {load(path).status for path in place.glob("outputs/pretrain/*")} == {"interrupted"}


def test_tasks_go_to_both_nodes(ray_address: str, tmp_path: Path) -> None:
    with open_executor(RayExecutor(address=ray_address), directory=tmp_path) as executor:
        assert executor.workers == 2
        assert executor.map(work.square, range(6)) == [n * n for n in range(6)]
