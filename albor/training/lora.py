"""Low-rank adapters (Hu et al., 2021, arXiv:2106.09685; DoRA: Liu et al., 2024, arXiv:2402.09353): put around a
decoder's matrices, and merged into them again.

Adapted layers do not take the fused paths of a GPU, which read weights past the layers; others still do.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import Tensor

from albor.config.schema.finetune import Lora
from albor.models.decoder import Decoder, Linear
from albor.training.errors import TrainingError

BASE = ".base_layer.weight"
A, B, LENGTHS = ".lora_A.default.weight", ".lora_B.default.weight", ".lora_magnitude_vector.default.weight"
"""What follows the name of a matrix in a state dict with adapters."""


def add_adapters(decoder: Decoder, lora: Lora) -> None:
    """Puts an adapter around the targets in every block of ``decoder``, in place; only adapters have gradients then.

    B is zero, so the decoder's function stays what it is; A is drawn from torch's global generator. Raises
    TrainingError for a target that is not there, and when peft is not installed.
    """
    known = [name for name, module in decoder.model.layers[0].named_modules() if isinstance(module, Linear)]
    names = [name.rpartition(".")[2] for name in known]
    unknown = [target for target in lora.targets if target not in names]
    if unknown or not lora.targets:
        raise TrainingError(
            f"no matrix of a block is called {', '.join(unknown)}" if unknown else "no matrix is to be adapted",
            help=f"take targets from {', '.join(names)}; embedding and head are one tensor and are not adapted",
        )
    if find_spec("peft") is None:
        raise TrainingError("LoRA needs peft, which is not installed", help="pip install 'albor[finetune]'")
    from albor.training.adapted import inject

    inject(decoder, lora)


def is_adapter(name: str) -> bool:
    """Whether a tensor of a state dict belongs to an adapter."""
    return name.endswith((A, B, LENGTHS))


@torch.no_grad()
def merge(tensors: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """The state dict of a decoder without adapters that computes what the one of ``tensors`` does.

    W + s·B·A, s = alpha/r; with DoRA times m / ‖W + s·B·A‖, row by row. Tensors that have no adapter are the same ones.
    """
    plain = {}
    for name, tensor in tensors.items():
        if name.endswith(BASE):
            prefix = name.removesuffix(BASE)
            merged = tensor + lora.alpha / lora.r * (tensors[prefix + B] @ tensors[prefix + A])
            if lora.dora:
                norm = torch.linalg.vector_norm(merged, dim=1)
                merged = merged * (tensors[prefix + LENGTHS] / norm)[:, None]
            plain[f"{prefix}.weight"] = merged
        elif not is_adapter(name):
            plain[name] = tensor
    return plain


def merge_adapters(decoder: Decoder, lora: Lora) -> dict[str, Tensor]:
    """``merge`` of a decoder that ``add_adapters`` was given with the same ``lora``; it stays as it is."""
    return merge(decoder.state_dict(), lora)
