"""A device whose memory is full or that fails is a matter for the person who trains: what to do, and no traceback."""

from __future__ import annotations

import pytest
import torch

from albor.training.errors import TrainingError
from albor.training.pretrain import Pretrain, fit

from .toy import MODEL, equal, weights


@pytest.mark.parametrize(
    ("error", "cause", "help"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."), "memory is full", "micro_batch_size"),
        (torch.AcceleratorError("CUDA error: unspecified launch failure\nSearch for"), "failed: CUDA", "traceback"),
    ],
    ids=["memory", "kernel"],
)
def test_it_is_said_what_to_do_and_nothing_is_lost(job, tmp_path, monkeypatch, error, cause, help) -> None:  # noqa: A002
    loss_sum = Pretrain.loss_sum

    def failing(self: Pretrain, *batch: torch.Tensor) -> torch.Tensor:
        if self.state.step == 6:
            raise error
        return loss_sum(self, *batch)

    whole = weights(fit(MODEL, job(directory=tmp_path / "whole")))
    with monkeypatch.context() as patched, pytest.raises(TrainingError, match=cause) as raised:
        patched.setattr(Pretrain, "loss_sum", failing)
        fit(MODEL, job())
    assert help in str(raised.value.help) and "\n" not in raised.value.cause and raised.value.__cause__ is error
    assert equal(whole, weights(fit(MODEL, job())))
