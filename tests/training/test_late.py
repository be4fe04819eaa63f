"""Numbers that are read steps late, as on a device, are those of their step, and a run is the same run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from albor.config.schema.alerts import Alert
from albor.training import readback
from albor.training.batches import Batch
from albor.training.errors import TrainingError
from albor.training.job import Job, Metrics
from albor.training.pretrain import fit
from albor.training.readback import Readback, Values
from albor.training.recorder import Recorder

from .toy import MODEL, ToyBatches, equal, weights

CLOCKS = {"tokens_per_second", "eta_seconds", "memory_gib", "save_seconds"}


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the host run so many steps ahead of the CPU."""
    return lambda steps: monkeypatch.setitem(readback.LATE, "cpu", steps)


def numbers(lines: list[Metrics]) -> list[Metrics]:
    """Lines without what a clock says, in the order of their steps."""
    kept = [{name: value for name, value in line.items() if name not in CLOCKS} for line in lines]
    return sorted(kept, key=lambda line: (line["step"], "val_loss" in line))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_steps_come_in_order_and_as_late_as_said(steps, late) -> None:
    late(steps)
    pending = Readback(torch.device("cpu"))
    for step in range(1, 8):
        pending.push(step, torch.tensor([step, 10.0 * step, 1.0, step == 5], dtype=torch.float32))
        found = list(pending.pop())
        assert [(v.step, v.loss, v.grad_norm, v.grad_norm_clipped, v.stop) for v in found] == (
            [(step - steps, step - steps, 10.0 * (step - steps), 1.0, step - steps == 5)] if step > steps else []
        )
    assert [values.step for values in pending.pop(everything=True)] == list(range(8 - steps, 8))
    assert list(pending.pop(everything=True)) == []


def test_a_step_lasts_from_the_end_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or from a restart, which leaves out what came before it."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pending, found = Readback(torch.device("cpu")), list[float]()

    def step(number: int, seconds: float) -> None:
        now[0] += seconds
        pending.push(number, torch.zeros(4))
        found.extend(values.seconds for values in pending.pop())

    step(1, 2.0)
    step(2, 3.0)
    now[0] += 50.0
    pending.restart()
    step(3, 4.0)
    assert found == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_is_the_same_however_late_its_numbers_are_read(job, tmp_path, late, steps) -> None:
    runs = []
    for ahead in (0, steps):
        late(ahead)
        lines: list[Metrics] = []
        trained = fit(MODEL, job(log_every=1, log=lines.append, directory=tmp_path / str(ahead)))
        runs.append((weights(trained), numbers(lines), trained.result["val_loss"]))
    (one, told, loss), (other, told_late, loss_late) = runs
    assert equal(one, other) and told == told_late and loss == loss_late
    assert [line["step"] for line in told if "loss" in line] == list(range(1, 13))


@pytest.mark.parametrize("ahead", [0, 1])
def test_log_every_thins_lines_and_keeps_the_last(job, tmp_path, late, ahead) -> None:
    """A line has its own step's numbers, not a mean."""
    late(ahead)
    found = {}
    for every in (1, 5):
        lines: list[Metrics] = []
        fit(MODEL, job(log_every=every, log=lines.append, directory=tmp_path / str(every)))
        found[every] = [line for line in numbers(lines) if "loss" in line]
    assert [line["step"] for line in found[5]] == [5, 10, 12]
    assert found[5] == [line for line in found[1] if line["step"] in (5, 10, 12)]


@pytest.mark.parametrize("ahead", [0, 1])
def test_alerts_see_the_steps_between_the_lines(job, late, ahead) -> None:
    late(ahead)
    lines: list[dict[str, Any]] = []
    made = job(log_every=12, log=lines.append, alerts={"x": Alert(metric="lr", above=0.0, from_step=7)})
    fit(MODEL, made)
    assert next(line for line in lines if line.get("alert") == "x")["step"] == 7


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_late_run_resumes_to_the_same_bits(job, tmp_path, late, ahead) -> None:
    late(ahead)
    whole = fit(MODEL, job(directory=tmp_path / "whole"))
    assert fit(MODEL, job(stop_at=7)).result["steps"] == 7
    assert equal(weights(whole), weights(fit(MODEL, job())))


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_a_signal_is_heard_late_and_loses_nothing(job, tmp_path, late, ahead) -> None:
    late(ahead)

    def signal_at_5(step: int, total: int, metrics: Metrics) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = fit(MODEL, job(directory=tmp_path / "whole", save_every=100, val_every=100))
    cut = fit(MODEL, job(progress=signal_at_5, save_every=100, val_every=100))
    assert cut.result["interrupted"] and cut.result["steps"] == 6 + ahead
    assert equal(weights(whole), weights(fit(MODEL, job(save_every=100, val_every=100))))


# --- steps that are not finite ---


def micro_batches(step: int) -> list[list[Any]]:
    """The tokens of a step's two micro-batches, of the toy's rows."""
    data, found = ToyBatches(22, 4, seed=42), list[Any]()
    while len(found) < 2 * step:
        found += [tokens.tolist() for tokens, _ in data]
    return found[2 * step - 2 : 2 * step]


@pytest.mark.parametrize("ahead", [1, 2])
@pytest.mark.parametrize("second", [6, 7, 8, 12])
def test_the_batch_of_the_step_is_kept_and_the_second_stops(job, poison, late, ahead, second) -> None:
    """Steps that follow on the device meanwhile leave no checkpoint."""
    late(ahead)
    poison({5, second})
    made = job()
    with pytest.raises(TrainingError, match=f"step {second} is the second"):
        fit(MODEL, made)
    for step in (5, second):
        dumped = load_file(made.directory.parent / "non-finite" / f"step-{step:08d}-rank-0.safetensors")
        assert [dumped[f"tokens.{index}"].tolist() for index in (0, 1)] == micro_batches(step)
    newest = max(int(path.name.removeprefix("step-")) for path in made.directory.glob("step-*"))
    assert newest == (second - 1) // 4 * 4
    saved = load_file(made.directory / f"step-{newest:08d}" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in saved.values())


# --- the clock ---


def test_a_rate_is_of_its_step(job) -> None:
    lines: list[Metrics] = []
    made: Job = job(log_every=1, log=lines.append)
    recorder = Recorder(made, MODEL, rank=0, device=torch.device("cpu"))
    for step, seconds in ((1, 8.0), (2, 2.0), (3, 4.0)):
        recorder.take(Values(step, 4.0, 1.0, 1.0, False, seconds))
    recorder.close()
    assert [line["tokens_per_second"] for line in lines] == [128 / 8.0, 128 / 2.0, 128 / 4.0]
    assert [line["tokens"] for line in lines] == [128, 256, 384]


def test_no_step_has_a_validation_in_its_time(job, monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [100.0], list[Metrics]()

    def clock(seconds: float = 1e-3) -> float:
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)
    made: Job = job(log_every=1, log=lines.append, val_every=3)

    def validation() -> Iterable[Batch]:
        clock(1000.0)
        return made.validation()

    fit(MODEL, replace(made, validation=validation))
    seconds = [128 / line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    assert len(seconds) == 12 and max(seconds) < 1.0


def test_ranks_other_than_the_first_log_nothing_and_keep_their_batches(job) -> None:
    lines: list[Metrics] = []
    recorder = Recorder(job(log_every=1, log=lines.append), MODEL, rank=1, device=torch.device("cpu"))
    recorder.take(Values(1, 4.0, 1.0, 1.0, False, seconds=1.0))
    recorder.close()
    assert lines == [] and recorder.latest["loss"] == 4.0
