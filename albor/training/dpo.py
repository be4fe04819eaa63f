"""Direct preference optimisation (Rafailov et al., 2023, arXiv:2305.18290): answers that are preferred become likelier
than those that are not, compared with how likely the starting weights find them.

Shapes: B pairs, T tokens of a conversation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.schema.finetune import Dpo, FullFinetune, Lora
from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.training.batches import Window
from albor.training.errors import TrainingError
from albor.training.finetune import Finetune, adapted_decoder, refuse_unfit
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.run import Trained, train
from albor.training.watchdog import Heartbeat


class Preference(Finetune):
    """−log σ(β·margin), margin = Δchosen − Δrejected, where Δ is log p − log p_reference of an answer, summed over its
    tokens.

    The reference is the decoder without its adapters, or else a frozen copy of it.
    """

    measures = ("margin",)

    def __init__(
        self,
        decoder: Decoder,
        job: Job,
        interrupt: Interrupt,
        heartbeat: Heartbeat,
        adapter: Lora | FullFinetune,
        dpo: Dpo,
    ) -> None:
        """``decoder`` has the starting weights, and adapters if it is to have any."""
        super().__init__(decoder, job, interrupt, heartbeat, adapter)
        self.beta = dpo.beta
        self.reference = copy.deepcopy(decoder).requires_grad_(False).eval() if self.lora is None else None

    def count(self, window: Window) -> int:
        """Pairs."""
        return sum(len(tokens) for tokens, _ in window.batches)

    def loss_sum(self, *batch: Tensor) -> Tensor:
        """``batch`` are tokens and labels [B, 2T]: in a row a pair, the chosen conversation and the rejected one."""
        tokens, labels = (tensor.unflatten(1, (2, -1)).flatten(0, 1) for tensor in batch)
        reference = self._reference(tokens, labels)
        gained = (reference - self.decoder.loss_rows(tokens, labels)).unflatten(0, (-1, 2))
        margins = gained[:, 0] - gained[:, 1]
        self.parts += margins.detach().sum()
        return preference_loss(margins, self.beta).sum()

    @torch.no_grad()
    def _reference(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Nats of each conversation's labels [2B] under the starting weights."""
        if self.reference is not None:
            return self.reference.loss_rows(tokens, labels)
        from albor.training.adapted import without_adapters

        training = self.decoder.training
        self.decoder.eval()
        with without_adapters(self.decoder):
            nats = self.decoder.loss_rows(tokens, labels)
        self.decoder.train(training)
        return nats


def preference_loss(margins: Tensor, beta: float) -> Tensor:
    """The loss of each pair [B] in nats, from how much more log-probability over the reference its chosen answer gained
    than its rejected one [B]."""
    return -F.logsigmoid(beta * margins)


def fit(model: Model, job: Job, init: Mapping[str, Tensor], adapter: Lora | FullFinetune, dpo: Dpo) -> Trained:
    """``finetune.fit`` on pairs: ``job.train`` gives rows of two conversations, each of half a row.

    ``job.validation`` gives conversations: the validation loss is the cross-entropy of their answers. Raises
    TrainingError.
    """
    refuse_unfit(job, adapter)
    if job.trainer.precision == "fp8" or (job.trainer.strategy == "fsdp" and job.trainer.world_size > 1):
        raise TrainingError(
            "the starting weights, which preferences are compared with, are neither sharded nor computed in fp8",
            help="trainer.precision=bf16 trainer.strategy=ddp",
        )

    def make(interrupt: Interrupt, heartbeat: Heartbeat) -> Preference:
        return Preference(adapted_decoder(model, job, init, adapter), job, interrupt, heartbeat, adapter, dpo)

    return train(job, make)
