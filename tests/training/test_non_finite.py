"""Losses and gradients that are not finite: one step is skipped, the second stops the run, nothing of them is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from albor.runs import manifest
from albor.runs.checkpoints import step_of
from albor.training.checkpoint import load, steps
from albor.training.errors import TrainingError
from albor.training.job import Job
from albor.training.pretrain import Pretrain, fit
from tests.command import albor

from .toy import MODEL, ToyBatches

STEPS = 12


class SpoiltGradient(torch.autograd.Function):
    """The loss as it is, and a gradient of a value of one's own."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, value: float) -> Tensor:
        ctx.value = value
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.full_like(gradients[0], ctx.value), None


def spoil(monkeypatch: pytest.MonkeyPatch, where: str, value: str, at: set[int]) -> None:
    """Makes the loss, or its gradient, not finite at the given steps."""
    whole = Pretrain.loss_sum

    def spoilt(self: Pretrain, *batch: Tensor) -> Tensor:
        loss = whole(self, *batch)
        if self.state.step + 1 not in at:
            return loss
        return loss * float(value) if where == "loss" else SpoiltGradient.apply(loss, float(value))

    monkeypatch.setattr(Pretrain, "loss_sum", spoilt)


def check_what_is_left(job: Job, skipped: set[int]) -> None:
    """Every checkpoint is finite, and of each skipped step the batch that it trained on is there."""
    for path in steps(job.directory):
        found = load(path)
        assert all(tensor.isfinite().all() for tensor in (*found.model.values(), *found.optimizer.values()))
    place = job.directory.parent / "non-finite"
    assert sorted(place.glob("*.safetensors")) == [place / f"step-{s:08d}-rank-0.safetensors" for s in sorted(skipped)]
    for step in skipped:
        dumped = load_file(place / f"step-{step:08d}-rank-0.safetensors")
        for index, (tokens, labels) in enumerate(batches_of(step)):
            assert dumped[f"tokens.{index}"].tolist() == tokens and dumped[f"labels.{index}"].tolist() == labels


def batches_of(step: int) -> list[tuple[Any, Any]]:
    """The two micro-batches of a step of the toy's."""
    data, found = ToyBatches(22, 4, seed=42), list[tuple[Any, Any]]()
    while len(found) < 2 * step:
        found += [(tokens.tolist(), labels.tolist()) for tokens, labels in data]
    return found[2 * step - 2 : 2 * step]


@pytest.mark.parametrize("step", [5, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, STEPS + 1) if k != 5)])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_at_any_step_one_is_skipped_and_the_next_stops(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, value: str, step: int
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, where, value, {step})
        made = job(directory=tmp_path / "once" / "checkpoints", save_every=1, keep_last=STEPS)
        trained = fit(MODEL, made)
    assert trained.result["steps"] == STEPS
    check_what_is_left(made, {step})
    assert len(steps(made.directory)) == STEPS

    spoil(monkeypatch, where, value, {step, step + 1})
    made = job(directory=tmp_path / "twice" / "checkpoints", save_every=1, keep_last=STEPS)
    if step == STEPS:  # there is no next one
        fit(MODEL, made)
        return
    with pytest.raises(TrainingError, match=f"step {step + 1} is the second"):
        fit(MODEL, made)
    check_what_is_left(made, {step, step + 1})
    assert len(steps(made.directory)) == step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lr", "cause", "saved"),
    [
        ("1e10", "step 3 is the second whose loss or gradient was not finite", [2, 1]),
        ("1e38", "model.embed_tokens.weight is not finite, so no checkpoint was written", []),
    ],
)
def test_a_run_that_diverges_fails_and_saves_nothing_of_it(
    tmp_path: Path, lr: str, cause: str, saved: list[int]
) -> None:
    """The command itself, with learning rates that no model survives."""
    words = ["stage=pretrain", "debug=default", "tracking=none", "alerts=none", "data.max_documents=60",
             "tokenizer.vocab_size=512", "model.vocab_size=512", f"optim.lr={lr}", "trainer.save_every=1"]  # fmt: skip
    done = albor(*words, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"error[E-TRAIN] {cause}" in done.stderr
    [directory] = (tmp_path / "outputs/pretrain").iterdir()
    assert manifest.load(directory).status == "failed" and not (directory / "artifact").exists()
    assert [step_of(path) for path in steps(directory / "checkpoints")] == saved
    for path in steps(directory / "checkpoints"):
        assert all(tensor.isfinite().all() for tensor in load(path).model.values())
    if saved:
        assert "warning[A-non-finite] step 2: the loss was nan" in done.stderr
        assert len(list((directory / "non-finite").glob("*.safetensors"))) == 2
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
