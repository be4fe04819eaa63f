"""Real processes, really killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

TOY = Path(__file__).parent / "toy.py"
ROOT = Path(__file__).parents[2]


def start(directory: Path, pause: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(TOY), str(directory), f"--pause={pause}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> tuple[list[int], str]:
    out, err = process.communicate(timeout=120)
    return [int(line) for line in out.split()], err


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == step:
            return
    raise AssertionError(f"ended before step {step}: {process.communicate()}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    directory: Path = tmp_path_factory.mktemp("uninterrupted")
    process = start(directory)
    steps, err = finish(process)
    assert (process.returncode, steps) == (0, list(range(1, 13))), err
    assert err == "", "Lightning is to be silent"
    return directory


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 75),
        pytest.param(signal.SIGINT, 75, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one(uninterrupted, tmp_path, number, code):
    process = start(tmp_path, pause=0.3)
    wait_for_step(process, 5)
    process.send_signal(number)
    last = max([5, *finish(process)[0]])
    assert process.returncode == code
    # The step in hand is saved, unless there was no time: then the run falls back to the last regular checkpoint.
    saved = last if code == 75 else last // 4 * 4

    process = start(tmp_path)
    steps, err = finish(process)
    assert process.returncode == 0, err
    assert steps == list(range(saved + 1, 13))
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (uninterrupted / "model" / name).read_bytes()
    for name in ("model.safetensors", "optimizer.safetensors"):
        path = Path("checkpoints") / "step-00000012" / name
        assert (tmp_path / path).read_bytes() == (uninterrupted / path).read_bytes()
    ours, theirs = (json.loads((d / "result.json").read_text()) for d in (tmp_path, uninterrupted))
    for key in ("val_loss", "initial_val_loss", "tokens", "steps"):
        assert ours[key] == theirs[key]


@pytest.mark.slow
def test_a_second_sigint_stops_at_once(tmp_path):
    process = start(tmp_path, pause=30)
    wait_for_step(process, 1)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == -signal.SIGINT
    finish(process)


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    """Under torchrun, with half the micro-batch each: the same global batches, up to the order of additions."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(TOY), str(tmp_path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    alone = tmp_path / "alone"
    assert start(alone).wait(timeout=60) == 0
    two, one = (load_file(directory / "model" / "model.safetensors") for directory in (tmp_path, alone))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
