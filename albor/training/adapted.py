"""peft's adapters around the decoder's matrices. Importing this imports peft, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import peft
import torch
import torch.nn.functional as F
from peft.tuners import lora as peft_lora
from torch import Tensor

from albor.config.schema.finetune import Lora
from albor.models.decoder import Decoder, Linear

NAME = "default"
"""peft's name of an adapter."""


class Adapted(peft_lora.Linear):
    """A frozen matrix W and its adapter, with weights, names and initial values of peft's.

    W·x + s·B·A·dropout(x), s = alpha/r. With DoRA, its rows are then scaled to lengths m, which are trained: times
    m / ‖W + s·B·A‖, where the norm has no gradient (Liu et al., 2024, section 4.3). peft's own forward computes both in
    float32; this one in the dtype of the residual stream, as the decoder's layers do, and it can be compiled.
    """

    def forward(self, x: Tensor) -> Tensor:
        plain: Tensor = self.base_layer(x)
        if self.disable_adapters:
            return plain
        a, b, scale = self.lora_A[NAME].weight, self.lora_B[NAME].weight, self.scaling[NAME]
        inner = F.linear(self.lora_dropout[NAME](x), a.to(x.dtype))
        out: Tensor = plain + F.linear(inner, b.to(x.dtype)) * scale
        if not self.use_dora[NAME]:
            return out
        with torch.no_grad():
            norm = torch.linalg.vector_norm(self.base_layer.weight + scale * (b @ a), dim=1)
        scaled: Tensor = out * (self.lora_magnitude_vector[NAME].weight / norm).to(x.dtype)
        return scaled


def inject(decoder: Decoder, lora: Lora) -> None:
    """Replaces the targets in ``decoder`` by ``Adapted`` and freezes everything else."""
    config = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        use_dora=lora.dora,
        bias="none",
    )
    config._register_custom_module({Linear: Adapted})
    peft.inject_adapter_in_model(config, decoder, adapter_name=NAME)


@contextmanager
def without_adapters(decoder: Decoder) -> Iterator[None]:
    """``decoder`` as it was before it was adapted."""
    adapted = [module for module in decoder.modules() if isinstance(module, Adapted)]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)
