"""Training that is killed, told to stop, divided or poisoned: real runs, in real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from albor.config.compose import Composer
from albor.plan.apply import prepare
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver
from albor.runs import manifest, replay
from albor.training.checkpoint import load_latest, steps
from tests.command import COMMAND, albor
from tests.training import toy

HERE = Path(__file__).parent
ENVIRONMENT = {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
ROWS = ("stage=pack", "debug=default", "tracking=none", "data.max_documents=60", "tokenizer.vocab_size=512")
SMALL = ("stage=pretrain", "debug=default", "tracking=none", "model.vocab_size=512", "trainer.epochs=20")
INPUTS = {"rows": "pack", "tokenizer": "tokenizer"}
KEPT = ("loss", "grad_norm", "lr", "val_loss")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the rows to train on."""
    place = tmp_path_factory.mktemp("faults")
    done = albor(*ROWS, cwd=place, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return place


def inputs(store: Path) -> list[str]:
    found = [(name, next((store / "outputs" / stage).iterdir())) for name, stage in INPUTS.items()]
    return [f"inputs.{name}={directory.name}" for name, directory in found]


def planned(store: Path, *changes: str) -> Path:
    """The directory of a run that is yet to be trained, whatever its seed on the same rows."""
    before = Path.cwd()
    os.chdir(store)
    try:
        plan = Planner(Resolver(Composer())).plan((*SMALL, *inputs(store), *changes))
        prepare(plan)
        return plan.nodes[-1].directory.absolute()
    finally:
        os.chdir(before)


def twin(directory: Path) -> Path:
    return Path(shutil.copytree(directory, directory.with_name(f"{directory.name}-in-peace")))


def disturb(
    number: int, signals: str, program: str, places: tuple[Path, Path], *options: str, seed: int = 1, ranks: int = 1
) -> list[dict[str, Any]]:
    """Runs killing.py, says what it found, and checks all that holds after any signal."""
    words = [number, seed, signals, ranks, program, *places, *options]
    command = [sys.executable, str(HERE / "killing.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for attempt in found:
        assert attempt["loadable"] and attempt["in_order"] and not attempt["gone"], attempt
        if attempt["signal"] == "SIGKILL":
            assert set(attempt["codes"]) == {-signal.SIGKILL}
        else:  # before training begins there is nothing to save
            assert attempt["lost"] == 0, attempt
            unready = set() if attempt["steps"] else {-signal.Signals[attempt["signal"]]}
            assert set(attempt["codes"]) <= {75, *unready}, attempt
    return found


def train(program: str, directory: Path, *options: str, ranks: int = 1) -> None:
    """To its end, in processes of its own."""
    disturb(0, "SIGKILL", program, (directory, directory), *options, ranks=ranks)  # done, and seen to be done


def summary(found: list[dict[str, Any]]) -> str:
    kinds = dict(Counter(attempt["signal"] for attempt in found))
    starting = sum(not attempt["steps"] for attempt in found)
    writing = sum(attempt["writing"] for attempt in found)
    lost = Counter(attempt["lost"] for attempt in found)
    return f"{kinds}, {starting} before a step, {writing} in mid-write; steps lost: {dict(sorted(lost.items()))}"


def lose_an_interval_at_most(found: list[dict[str, Any]], save_every: int) -> bool:
    """A checkpoint is written while training goes on: until it is whole, the steps done meanwhile are lost as well."""
    return all(attempt["lost"] < 2 * save_every for attempt in found) and all(
        attempt["lost"] <= save_every for attempt in found if not attempt["writing"]
    )


def assert_same(ours: Path, theirs: Path) -> None:
    """Every bit of weights, moments, random states and the loader's position, and of every step's metrics."""
    mine, peaceful = (load_latest(place / "checkpoints") for place in (ours, theirs))
    assert mine is not None and peaceful is not None
    assert {**mine.state, "seconds": 0} == {**peaceful.state, "seconds": 0}
    for tensors, others in ((mine.model, peaceful.model), (mine.optimizer, peaceful.optimizer)):
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    [one], [other] = (list(place.glob("*/model.safetensors")) for place in (ours, theirs))
    assert one.read_bytes() == other.read_bytes()
    expected = replay.metrics(theirs)
    lines = [json.loads(line) for line in (ours / "metrics.jsonl").read_text().splitlines() if line.endswith("}")]
    for line in lines:  # those of steps that were done again, too
        assert all(expected[line["step"]][key] == line[key] for key in KEPT if key in line), line
    assert {line["step"] for line in lines if "loss" in line} == {step for step in expected if step}


# --- killed and told to stop ---


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "signals"), [(1, 4), (2, 1)])
def test_a_run_disturbed_again_and_again_ends_as_one_in_peace(tmp_path: Path, ranks: int, signals: int) -> None:
    """With dropout, shuffling and accumulation."""
    places, options = (tmp_path / "in-peace", tmp_path / "run"), ("--steps=60", "--dropout=0.1")
    found = disturb(signals, "SIGKILL,SIGTERM,SIGUSR1", "toy", places, *options, seed=2, ranks=ranks)
    print(summary(found))
    assert len(found) == signals
    assert_same(places[1], places[0])


@pytest.mark.slow
def test_200_kills_lose_an_interval_each_at_most_and_nothing_else(store: Path) -> None:
    changes = ("trainer.max_steps=400", "trainer.save_every=10", "trainer.micro_batch_size=4", "trainer.grad_accum=2",
               "model.dropout=0.1")  # fmt: skip
    found: list[dict[str, Any]] = []
    for seed in count(1):
        directory = planned(store, *changes, f"seed={seed}")
        places = twin(directory), directory
        found += disturb(min(50, 200 - len(found)), "SIGKILL", "worker", places, seed=seed)
        assert_same(directory, places[0])
        assert manifest.load(directory).facts["val_loss"] == manifest.load(places[0]).facts["val_loss"]
        if len(found) == 200:
            break
    print(f"{seed} runs: {summary(found)}")
    assert sum(attempt["writing"] for attempt in found) > 20
    assert lose_an_interval_at_most(found, 10)
    again = albor("replay", directory.name, "--step", "395", cwd=store, **ENVIRONMENT)
    assert "bit-exact" in again.stdout, again.stdout + again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_told_to_stop_20_times_a_run_loses_nothing(store: Path, name: str) -> None:
    directory = planned(store, "trainer.max_steps=400", "trainer.save_every=50", "trainer.grad_accum=2",
                        "model.dropout=0.1", f"seed={signal.Signals[name].value}")  # fmt: skip
    places = twin(directory), directory
    found = disturb(20, name, "worker", places)
    print(summary(found))
    assert len(found) == 20
    assert_same(directory, places[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_the_command_told_to_stop_exits_with_75_and_goes_on(store: Path, name: str) -> None:
    words = ("trainer.max_steps=1000", "trainer.save_every=20", f"seed={signal.Signals[name].value}")
    directory = planned(store, *words)
    peaceful = twin(directory)
    train("worker", peaceful)
    whole = (*SMALL, *inputs(store), *words)
    command = [*COMMAND, *whole]
    process = subprocess.Popen(command, cwd=store, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not steps(directory / "checkpoints"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.Signals[name])
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75, told
    assert (
        "interrupted, and saved after step" in told
        and "stopping: " in told
        and manifest.load(directory).status == "interrupted"
    )
    assert manifest.load(directory).error is None
    found = load_latest(directory / "checkpoints")
    assert found is not None and found.state["step"] == max(replay.metrics(directory)) < 1000
    done = albor(*whole, cwd=store, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert f"goes on from the checkpoint of step {found.state['step']}" in done.stderr
    assert_same(directory, peaceful)


@pytest.mark.slow
def test_a_command_interrupted_before_it_trains_is_no_running_run(store: Path) -> None:
    directory = planned(store, "trainer.max_steps=900")
    command = [*COMMAND, *SMALL, *inputs(store), "trainer.max_steps=900"]
    process = subprocess.Popen(command, cwd=store, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while manifest.load(directory).status != "running":
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 75 and "error" not in told and told.count("interrupted") == 1
    assert manifest.load(directory).status == "interrupted"


# --- several ranks ---


@pytest.mark.slow
def test_two_ranks_resumed_over_50_steps_differ_in_no_bit(store: Path) -> None:
    """Dropout, shuffling over several epochs, accumulation, and ranks that are killed and told to stop."""
    changes = ("trainer.max_steps=50", "trainer.devices=2", "trainer.micro_batch_size=2", "trainer.grad_accum=2",
               "trainer.save_every=5", "model.dropout=0.1")  # fmt: skip
    found = []
    for seed in (1, 2, 3):
        directory = planned(store, *changes, f"seed={seed}")
        places = twin(directory), directory
        found += disturb(10, "SIGKILL,SIGTERM,SIGUSR1", "worker", places, seed=seed, ranks=2)
        assert_same(directory, places[0])
    print(summary(found))
    assert lose_an_interval_at_most(found, 5)


def trained_alone(directory: Path, *options: str) -> Path:
    threads = torch.get_num_threads()
    try:
        assert toy.main([str(directory), *options]) == 0
    finally:
        torch.set_num_threads(threads)
    return directory


@pytest.mark.slow
def test_two_ranks_that_accumulate_train_what_one_process_with_the_full_batch_does(tmp_path: Path) -> None:
    shared = ("--rows=96", "--steps=12")
    one = trained_alone(tmp_path / "one", *shared, "--micro=8", "--accum=1")
    train("toy", tmp_path / "two", *shared, "--micro=4", "--accum=2", ranks=2)
    full, divided = (load_file(place / "model/model.safetensors") for place in (one, tmp_path / "two"))
    print(max((divided[name] - tensor).abs().max().item() for name, tensor in full.items()))
    for name, tensor in full.items():
        torch.testing.assert_close(divided[name], tensor, rtol=1e-3, atol=1e-4)
    then, now = (replay.metrics(place) for place in (one, tmp_path / "two"))
    for step in range(1, 13):
        assert now[step]["loss"] == pytest.approx(then[step]["loss"], rel=1e-5)
        assert now[step]["grad_norm"] == pytest.approx(then[step]["grad_norm"], rel=1e-3)
