"""What a decoder computes on calibration rows, block by block: the inputs of its matrices, and what each block changes.

The residual stream of all rows is held between blocks (rows · T · H numbers), the statistics of one block at a time.
As in Wanda's and SparseGPT's own programs, a block's inputs come from the blocks before it as they were pruned, and
all matrices of one block from one pass with none of them pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from albor.models.decoder import Block, Decoder, rotary
from albor.models.errors import ModelError

Input = Literal["attention", "mixed", "feed_forward", "activated"]
"""What a block's matrices multiply: the two normed streams, the heads' outputs, SwiGLU's product."""
MATRICES: dict[str, Input] = {
    "self_attn.q_proj.weight": "attention",
    "self_attn.k_proj.weight": "attention",
    "self_attn.v_proj.weight": "attention",
    "self_attn.o_proj.weight": "mixed",
    "mlp.gate_proj.weight": "feed_forward",
    "mlp.up_proj.weight": "feed_forward",
    "mlp.down_proj.weight": "activated",
}
"""A block's matrices and the input of each."""
Statistic = Callable[[Tensor], Tensor]
"""Of inputs [N, in]; summed over batches."""


def squares(inputs: Tensor) -> Tensor:
    """‖x‖₂² of each input [in]."""
    return inputs.square().sum(0)


def gram(inputs: Tensor) -> Tensor:
    """XᵀX [in, in]."""
    return inputs.T @ inputs


class Stream:
    """The residual stream of calibration rows before a block; ``pass_through`` takes it behind one.

    The decoder is put into evaluation mode.
    """

    @torch.no_grad()
    def __init__(self, model: Decoder, batches: Iterable[Tensor]) -> None:
        """``batches`` are token ids [B, T], on any device. Raises ModelError when there are none."""
        self.model = model.eval()
        embedding = model.model.embed_tokens.weight
        self.states = [F.embedding(tokens.to(embedding.device), embedding).to(model.dtype) for tokens in batches]
        if not self.states:
            raise ModelError("there are no rows to calibrate on", help="give prune.calibration_rows, and rows")

    @torch.no_grad()
    def statistics(self, block: Block, of: Statistic) -> dict[Input, Tensor]:
        """The statistic of each of the block's inputs, in float32."""
        totals: dict[Input, Tensor] = {}

        def add(name: Input, inputs: Tensor) -> None:
            found = of(inputs.flatten(0, -2).float())
            totals[name] = totals[name] + found if name in totals else found

        def feed_forward(normed: Tensor) -> None:
            add("feed_forward", normed)
            # On CUDA the layer is one fused operator, whose product nobody sees.
            add("activated", F.silu(block.mlp.gate_proj(normed)) * block.mlp.up_proj(normed))

        hooks = [
            block.input_layernorm.register_forward_hook(lambda _, args, out: add("attention", out)),
            block.self_attn.o_proj.register_forward_pre_hook(lambda _, args: add("mixed", args[0])),
            block.post_attention_layernorm.register_forward_hook(lambda _, args, out: feed_forward(out)),
        ]
        try:
            for state in self.states:
                self._through(block, state, {})
        finally:
            for hook in hooks:
                hook.remove()
        return totals

    @torch.no_grad()
    def pass_through(self, block: Block, weights: Mapping[str, Tensor]) -> float:
        """Moves the rows behind the block, computed with ``weights`` in place of its own of those names.

        Returns:
            The block's influence: 1 − the cosine between a token's stream before and behind it, averaged over tokens
            (ShortGPT, equation 1).
        """
        cosines, tokens = 0.0, 0
        for index, before in enumerate(self.states):
            behind = self.states[index] = self._through(block, before, weights)
            cosines += float(F.cosine_similarity(before.float(), behind.float(), dim=-1).double().sum())
            tokens += before[..., 0].numel()
        return 1 - cosines / tokens

    def _through(self, block: Block, state: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        config = self.model.config
        positions = torch.arange(state.shape[1], device=state.device)
        rotation = rotary(positions, config.head_width, config.rope_theta, state.dtype)
        parts: tuple[Tensor, Tensor] = functional_call(
            block, dict(weights), (state, torch.zeros_like(state), rotation, None, None)
        )
        return parts[0] + parts[1]


def blocks(model: Decoder) -> list[Block]:
    found: Any = model.model.layers
    return list(found)
