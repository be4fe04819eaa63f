"""Learning from a teacher that computes beside the student, or of whom was stored what it finds likely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from albor.config.schema.distill import Distill
from albor.config.schema.model import Model
from albor.models.attention import Mask
from albor.training.alignment import alignment_loss, compiled
from albor.training.distillation import Target, linear_distillation
from albor.training.errors import TrainingError
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.pretrain import Pretrain
from albor.training.run import Trained, decoder_of, train
from albor.training.watchdog import Heartbeat

LEAST = -1e-7
"""A mean divergence below this is none (C-KERNEL-001)."""
Teach = Callable[[Tensor, Mask, tuple[Tensor, ...]], Target]
"""What the teacher says of tokens [B, T], seen through a mask; the last argument is what a batch brings with it."""


class Taught(Pretrain):
    """A mean of cross-entropy and a divergence from a teacher."""

    measures = ("divergence",)
    recipe: Distill

    def refuse(self, step: int, parts: Mapping[str, float]) -> None:
        if parts["divergence"] < LEAST:
            raise TrainingError(
                f"the divergence from the teacher is {parts['divergence']:.3g} at step {step}, and none is negative",
                help="the stored probabilities are damaged, or not the teacher's: make them again",
            )


class Distilled(Taught):
    """α·T²·D(teacher, student) + (1−α)·CE of each label."""

    teach: Teach

    def loss_sum(self, *batch: Tensor) -> Tensor:
        tokens, labels, *brought = batch
        mask = self.mask(tokens)
        loss = partial(
            linear_distillation,
            labels=labels.flatten(),
            target=self.teach(tokens, mask, tuple(brought)),
            temperature=self.recipe.temperature,
            alpha=self.recipe.alpha,
            compile=self.job.trainer.compile,
        )
        total, divergence = self.decoder.reduce(tokens, mask, loss)
        self.parts += divergence
        return total


class Aligned(Taught):
    """α·τ·D of each chunk of text that the teacher scored, + (1−α)·CE of each label."""

    def loss_sum(self, *batch: Tensor) -> Tensor:
        tokens, labels, marks = batch
        loss = partial(
            compiled() if self.job.trainer.compile else alignment_loss,
            labels=labels,
            marks=marks.squeeze(-1),
            tau=self.recipe.tau,
            alpha=self.recipe.alpha,
        )
        total, divergence = self.decoder.reduce(tokens, self.mask(tokens), loss)
        self.parts += divergence
        return total


def fit(model: Model, job: Job, init: Mapping[str, Tensor] | None, recipe: Distill, teach: Teach) -> Trained:
    """Trains ``model`` as ``job`` says, from ``init`` or from random weights, on what ``teach`` gives.

    Continues from the newest intact checkpoint in ``job.directory``. Raises TrainingError.
    """

    def make(interrupt: Interrupt, heartbeat: Heartbeat) -> Distilled:
        made = Distilled(decoder_of(model, job.trainer, init), job, interrupt, heartbeat)
        made.teach, made.recipe = teach, recipe
        return made

    return train(job, make)


def fit_aligned(model: Model, job: Job, init: Mapping[str, Tensor] | None, recipe: Distill) -> Trained:
    """``fit`` on what batches bring with them of the teacher: marks of chunks [B, T, 1]."""

    def make(interrupt: Interrupt, heartbeat: Heartbeat) -> Aligned:
        made = Aligned(decoder_of(model, job.trainer, init), job, interrupt, heartbeat)
        made.recipe = recipe
        return made

    return train(job, make)
