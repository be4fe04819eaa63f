"""Whole runs on a GPU: what they learn, read late, resume from and repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from albor.config.schema.optim import AdamW, Muon
from albor.training.batches import Window
from albor.training.errors import TrainingError
from albor.training.job import Metrics
from albor.training.pretrain import Pretrain, fit
from albor.training.readback import Readback
from tests.models.triton_device import DEVICE, NEEDS_CUDA, NEEDS_FP8

from .toy import MODEL, weights

pytestmark = NEEDS_CUDA

PRECISIONS = ["float32", "bf16", pytest.param("fp8", marks=NEEDS_FP8)]


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    """Left as they were: a deterministic run switches the whole process."""
    torch._dynamo.reset()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("compile", [False, True])
def test_a_run_learns_what_one_on_a_cpu_does(job, tmp_path, precision, compile) -> None:  # noqa: A002
    changes = {"total_steps": 40, "directory": tmp_path / "gpu"}
    found = fit(MODEL, job(accelerator="cuda", precision=precision, compile=compile, **changes))
    expected = fit(MODEL, job(**changes | {"directory": tmp_path / "cpu"})).result
    assert found.result["initial_val_loss"] == pytest.approx(expected["initial_val_loss"], rel=5e-3)
    assert found.result["val_loss"] < 0.6 * found.result["initial_val_loss"]
    assert {tensor.dtype for tensor in found.weights.values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bf16"])  # fp8: test_fp8.py
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_deterministic_run_resumes_to_the_same_bits(job, tmp_path, precision, dropout) -> None:
    model = replace(MODEL, dropout=dropout)
    changes = {"accelerator": "cuda", "precision": precision, "deterministic": True}
    whole = weights(fit(model, job(directory=tmp_path / "whole", **changes)))
    assert fit(model, job(stop_at=7, **changes)).result["steps"] == 7
    parts = weights(fit(model, job(**changes)))
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_lines_are_of_their_own_step(job, tmp_path) -> None:
    """The host is a step ahead of the device, and says what a CPU says that is not."""
    found = {}
    for accelerator in ("cpu", "cuda"):
        lines: list[Metrics] = []
        fit(MODEL, job(accelerator=accelerator, log_every=1, log=lines.append, directory=tmp_path / accelerator))
        found[accelerator] = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert found["cuda"].keys() == found["cpu"].keys() == set(range(1, 13))
    for step, loss in found["cpu"].items():
        assert found["cuda"][step] == pytest.approx(loss, rel=1e-3)


def test_values_outlive_what_the_device_does_next() -> None:
    """They are copied before the tensor that held them is written again."""
    pending, values = Readback(DEVICE), torch.zeros(4, device=DEVICE)
    found = []
    for step in range(1, 6):
        values.fill_(float(step))
        pending.push(step, values)
        values.fill_(-1.0)
        found += list(pending.pop())
    found += list(pending.pop(everything=True))
    assert [(each.step, each.loss, each.grad_norm) for each in found] == [(n, n, n) for n in range(1, 6)]


def test_a_step_lasts_as_long_as_the_device_takes() -> None:
    """However late the host looks: here it does when all is done."""
    pending = Readback(DEVICE)
    for step in range(1, 5):
        torch.cuda._sleep(50_000_000)
        pending.push(step, torch.zeros(4, device=DEVICE))
    torch.cuda.synchronize()
    seconds = [values.seconds for values in pending.pop(everything=True)]
    assert len(seconds) == 4 and 0 < max(seconds) < 2 * min(seconds)


def test_a_full_memory_is_no_traceback(job) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(TrainingError, match="memory is full"):
            fit(MODEL, job(accelerator="cuda"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optim", [AdamW(lr=1e-3, zclip=2.5), Muon(lr=1e-3, matrix_lr=1e-3)], ids=lambda o: o.kind)
def test_a_step_never_waits_for_the_device(job, monkeypatch: pytest.MonkeyPatch, precision, optim) -> None:
    """Else the device is idle while the host says what comes next: 18% of a 50m model's time, when it was so."""
    step, steps = Pretrain.training_step, []

    def strict(self: Pretrain, window: Window, index: int) -> None:
        if self.state.step == 0:  # compiles and calibrates
            return step(self, window, index)
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(self, window, index)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return steps.append(self.state.step)

    monkeypatch.setattr(Pretrain, "training_step", strict)
    fit(MODEL, job(accelerator="cuda", precision=precision, optim=optim, log_every=1))
    assert steps == list(range(2, 13))
