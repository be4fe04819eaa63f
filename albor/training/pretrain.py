"""Next-token prediction from scratch or from given weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from albor.config.schema.model import Model
from albor.models.attention import Mask, documents
from albor.training.base import Objective
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.run import Trained, decoder_of, train
from albor.training.watchdog import Heartbeat


class Pretrain(Objective):
    """Cross-entropy of the next token."""

    def loss_sum(self, *batch: Tensor) -> Tensor:
        tokens, labels = batch
        return self.decoder.loss_sum(tokens, labels, self.mask(tokens), z_loss=self.job.trainer.z_loss)

    def mask(self, tokens: Tensor) -> Mask:
        if not self.job.trainer.document_mask:
            return None
        assert self.job.eos_id is not None
        return documents(tokens, self.job.eos_id)


def fit(model: Model, job: Job, init: Mapping[str, Tensor] | None = None) -> Trained:
    """Trains ``model`` as ``job`` says, from ``init`` (a state dict, float32) or from random weights.

    Continues from the newest intact checkpoint in ``job.directory``. Raises TrainingError.
    """

    def make(interrupt: Interrupt, heartbeat: Heartbeat) -> Pretrain:
        return Pretrain(decoder_of(model, job.trainer, init), job, interrupt, heartbeat)

    return train(job, make)
