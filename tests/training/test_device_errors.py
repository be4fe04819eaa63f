"""A device whose memory is full or that fails is a matter for the person who trains: what to do, and no traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from albor.training.errors import TrainingError
from albor.training.pretrain import Pretrain, fit

from .toy import MODEL, equal, weights

TOO_MUCH = 2**50


def full_gpu() -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


def full_cpu() -> Tensor:
    return torch.empty(TOO_MUCH)


def failed_kernel() -> Tensor:
    raise torch.AcceleratorError("CUDA error: unspecified launch failure\nSearch for `cudaErrorLaunchFailure'")


@pytest.mark.parametrize(
    ("happens", "cause", "help"),
    [
        (full_gpu, "memory is full: CUDA out of memory", "micro_batch_size"),
        (full_cpu, "memory is full: can't allocate memory", "micro_batch_size"),
        (failed_kernel, "failed: CUDA error: unspecified launch failure", "the same command goes on"),
    ],
)
def test_it_is_said_what_to_do_and_nothing_is_lost(
    job,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[], Tensor],
    cause: str,
    help: str,  # noqa: A002
) -> None:
    loss_sum = Pretrain.loss_sum

    def failing(self: Pretrain, *batch: Tensor) -> Tensor:
        return happens() if self.state.step == 6 else loss_sum(self, *batch)

    whole = weights(fit(MODEL, job(directory=tmp_path / "whole")))
    with monkeypatch.context() as patched, pytest.raises(TrainingError, match=cause) as raised:
        patched.setattr(Pretrain, "loss_sum", failing)
        fit(MODEL, job())
    assert help in str(raised.value.help) and "\n" not in raised.value.cause and raised.value.__cause__ is not None
    assert equal(whole, weights(fit(MODEL, job())))


def test_what_is_no_devices_fault_keeps_its_type(job, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Pretrain, *batch: Tensor) -> Tensor:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Pretrain, "loss_sum", failing)
    with pytest.raises(RuntimeError, match="a defect"):
        fit(MODEL, job())
