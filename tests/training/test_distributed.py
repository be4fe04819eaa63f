"""Two ranks, really killed: what they come to does not depend on it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albor.plan.processes import free_port

TOY = Path(__file__).with_name("toy.py")
ROOT = Path(__file__).parents[2]
STEPS = 12
Rank = subprocess.Popen[str]


def start(directory: Path, strategy: str, pause: float = 0.0) -> list[Rank]:
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TOY), str(directory), f"--pause={pause}", f"--strategy={strategy}"]
    environments = [os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    return [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for env in environments
    ]


def wait_for_step(ranks: list[Rank], step: int) -> None:
    output = ranks[0].stdout
    assert output is not None
    if step not in map(int, output):
        raise AssertionError(f"ended before step {step}: {[rank.communicate() for rank in ranks]}")


def finish(ranks: list[Rank]) -> tuple[list[int], list[int]]:
    """Their exit codes, and the steps that were done."""
    outputs = [rank.communicate(timeout=120) for rank in ranks]
    for (_, errors), rank in zip(outputs, ranks, strict=True):
        said = [line for line in errors.splitlines() if not line.startswith("  goes on from the checkpoint of step")]
        assert said == [] or rank.returncode == -signal.SIGKILL
    return [rank.returncode for rank in ranks], [int(line) for line in outputs[0][0].split()]


def newest(directory: Path) -> int:
    """The step of the newest checkpoint that is whole; 0 when there is none."""
    return max((int(place.name.removeprefix("step-")) for place in directory.glob("checkpoints/step-*")), default=0)


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def uninterrupted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    assert finish(start(directory, request.param)) == ([0, 0], list(range(1, STEPS + 1)))
    return request.param, directory


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "one told to stop"])
def test_two_ranks_end_with_the_bytes_of_an_uninterrupted_run(
    how: str, uninterrupted: tuple[str, Path], tmp_path: Path
) -> None:
    strategy, expected = uninterrupted
    step = random.randrange(1, STEPS - 2)
    ranks = start(tmp_path, strategy, pause=0.3)
    wait_for_step(ranks, step)
    if how == "killed":
        for rank in random.sample(ranks, 2):
            rank.kill()
        assert finish(ranks)[0] == [-signal.SIGKILL] * 2
    else:
        random.choice(ranks).send_signal(signal.SIGTERM)
        codes, more = finish(ranks)
        assert codes == [75, 75] and newest(tmp_path) == max([step, *more])
    saved = newest(tmp_path)
    assert finish(start(tmp_path, strategy)) == ([0, 0], list(range(saved + 1, STEPS + 1))), f"{how} at step {step}"
    last = Path("checkpoints", f"step-{STEPS:08d}")
    for path in (last / "model.safetensors", last / "optimizer.safetensors", Path("model", "model.safetensors")):
        assert (tmp_path / path).read_bytes() == (expected / path).read_bytes(), f"{path}, {how} at step {step}"
    ours, theirs = (json.loads((place / "result.json").read_text()) for place in (tmp_path, expected))
    for key in ("val_loss", "initial_val_loss", "tokens", "steps"):
        assert ours[key] == theirs[key]
