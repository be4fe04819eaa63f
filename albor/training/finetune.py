"""Teaching a model by examples: cross-entropy of what is learnt in them, by all weights or by adapters.

A checkpoint of a run with adapters holds the merged model, so that it is a model directory like any other, and beside
the optimizer's moments the adapters themselves. The weights that they are adapters of are the ones the run starts
from: a resume is given them again, and gets the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from albor.config.schema.finetune import FullFinetune, Lora
from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.training.checkpoint import Checkpoint
from albor.training.errors import TrainingError
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.lora import add_adapters, is_adapter, merge
from albor.training.pretrain import Pretrain
from albor.training.run import Trained, decoder_of, train
from albor.training.watchdog import Heartbeat


class Finetune(Pretrain):
    """Cross-entropy of the labels that there are: those of the answers, in rows of instructions."""

    def __init__(
        self, decoder: Decoder, job: Job, interrupt: Interrupt, heartbeat: Heartbeat, adapter: Lora | FullFinetune
    ) -> None:
        """``decoder`` has its adapters already, if it is to have any."""
        super().__init__(decoder, job, interrupt, heartbeat)
        self.lora = adapter if isinstance(adapter, Lora) else None

    def exported(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return tensors if self.lora is None else merge(tensors, self.lora)

    def kept(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if is_adapter(name)}

    def resume(self, found: Checkpoint) -> None:
        if self.lora is None:
            super().resume(found)
            return
        own = self.decoder.state_dict()
        adapters = {name: tensor for name, tensor in found.optimizer.items() if is_adapter(name)}
        others = [name for name, tensor in found.model.items() if name in own and not torch.equal(own[name], tensor)]
        if others or adapters.keys() != self.kept(own).keys():
            raise TrainingError(
                f"the checkpoint {found.directory} is not of these starting weights and adapters",
                help="resume with the model and the adapters that wrote it, or start a new run",
            )
        self.decoder.load_state_dict(adapters, strict=False)
        moments = {name: tensor for name, tensor in found.optimizer.items() if name not in adapters}
        self.take(replace(found, optimizer=moments))

    def result(self) -> dict[str, Any]:
        trained = sum(p.numel() for p in self.decoder.parameters() if p.requires_grad)
        return {**super().result(), "trained_parameters": trained}


def fit(model: Model, job: Job, init: Mapping[str, Tensor], adapter: Lora | FullFinetune) -> Trained:
    """Trains ``model`` from ``init`` (a state dict, float32) as ``job`` says, all of it or by adapters.

    The weights that come out are the model's own, adapters merged. Continues from the newest intact checkpoint in
    ``job.directory``. Raises TrainingError.
    """
    refuse_unfit(job, adapter)

    def make(interrupt: Interrupt, heartbeat: Heartbeat) -> Finetune:
        return Finetune(adapted_decoder(model, job, init, adapter), job, interrupt, heartbeat, adapter)

    return train(job, make)


def adapted_decoder(model: Model, job: Job, init: Mapping[str, Tensor], adapter: Lora | FullFinetune) -> Decoder:
    """A decoder with the weights ``init``, and adapters if it is to have any."""
    decoder = decoder_of(model, job.trainer, init)
    if isinstance(adapter, Lora):
        add_adapters(decoder, adapter)
    return decoder


def refuse_unfit(job: Job, adapter: Lora | FullFinetune) -> None:
    """Raises TrainingError for what adapters cannot be trained with."""
    trainer = job.trainer
    if isinstance(adapter, Lora) and trainer.precision == "fp8":
        raise TrainingError(
            "layers in fp8 read their weights past the adapters, which would not be trained",
            help="trainer.precision=bf16",
        )
    if isinstance(adapter, Lora) and trainer.strategy == "fsdp" and trainer.world_size > 1:
        raise TrainingError(
            "fsdp spreads the optimizer's state and gradients, of which adapters have next to none",
            help="trainer.strategy=ddp",
        )
