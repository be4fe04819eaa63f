"""The decoder as inference computes it: the same weights and the same function, one token per row or whole rows.

Training casts float32 masters where it uses them and needs gradients; here every weight is cast and stacked once.
Shapes: B rows, T tokens, N tokens of all rows, H hidden, K key and value heads, D head width, S cached positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from albor.models.attention import attend
from albor.models.decoder import Block, Decoder, RMSNorm, rotary, rotate, stack

BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Not cuDNN, which prepares itself for every new length."""
MOST_NARROW = 2
"""Rows up to which our own products are faster than cuBLAS's."""


@dataclass(frozen=True)
class Layer:
    """One block's weights."""

    attention_norm: Tensor
    qkv: Tensor
    """[(heads + 2K)·D, H]."""
    head_norms: tuple[Tensor, Tensor] | None
    """Of queries and keys, [D] each."""
    o: Tensor
    feed_forward_norm: Tensor
    gate_up: Tensor
    """[2I, H]."""
    down: Tensor


@dataclass(frozen=True)
class Cache:
    """Keys and values of what rows have read, [L, B, K, S, D]."""

    keys: Tensor
    values: Tensor
    turns: Tensor
    """[B, K] zeros, by which the parts of a row know who is the last."""


class Network:
    """A decoder for inference, on the decoder's device and in its computing dtype."""

    def __init__(self, model: Decoder, *, fused: bool | None = None) -> None:
        """``fused`` (on CUDA, unless said otherwise) takes ``kernels`` instead of torch's own operators."""
        self.config, self.dtype = model.config, model.dtype
        self.embedding = model.model.embed_tokens.weight.detach().to(model.dtype)
        self.norm = model.model.norm.weight.detach().to(model.dtype)
        self.layers = [_layer(block, model.dtype) for block in model.model.layers]  # type: ignore[arg-type]
        self.device = self.embedding.device
        self.kernels: ModuleType | None = None
        if self.device.type == "cuda" if fused is None else fused:  # gpu
            from albor.inference import kernels
            from albor.inference.narrow import MOST_INPUTS

            self.kernels = kernels
            self._narrow = max(model.config.hidden_size, model.config.intermediate_size) <= MOST_INPUTS

    def empty_cache(self, rows: int, capacity: int) -> Cache:
        config = self.config
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_width)
        # Zeros, because a masked place is still multiplied by 0.
        keys, values = (torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2))
        return Cache(keys, values, torch.zeros(shape[1:3], dtype=torch.int32, device=self.device))

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [..., 1, D/2] of positions [...]."""
        return rotary(positions, self.config.head_width, self.config.rope_theta, self.dtype)

    def read(
        self,
        tokens: Tensor,
        cache: Cache | None = None,
        rows: Tensor | None = None,
        starts: Tensor | None = None,
        span: int = 0,
    ) -> Tensor:
        """Final hidden states [B, T, H] of ``tokens`` [B, T].

        With a cache, their keys and values become positions of its ``rows`` [B], from the beginning, or from ``starts``
        [B] on: these tokens also see what is there before them, up to position ``span``.
        """
        shape = tokens.shape
        positions = torch.arange(shape[1], device=tokens.device)
        visible: Tensor | None = None
        if cache is not None and starts is not None:
            # Padding may reach beyond the cache; what is written in its last place is no prompt's.
            positions = (positions + starts[:, None]).clamp(max=cache.keys.shape[3] - 1)
            visible = (torch.arange(span, device=tokens.device) <= positions[..., None])[:, None]
        turn = self.rotation(positions)

        def attention(index: int, layer: Layer, projected: Tensor) -> Tensor:
            q, k, v = self._heads(layer, projected.unflatten(0, shape), turn)
            if cache is not None:
                keys, values = cache.keys[index], cache.values[index]
                at = (rows[:, None], slice(None), positions)  # type: ignore[index]
                keys[at], values[at] = k, v
                if visible is not None:
                    # A key head for every query head: with a mask, no fast backend shares them out.
                    group = q.shape[2] // k.shape[2]
                    keys, values = (part[rows, :, :span].repeat_interleave(group, 1) for part in (keys, values))
                    return attend(q.transpose(1, 2), keys, values, visible).transpose(1, 2).flatten(2).flatten(0, 1)
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            return attend(q, k, v, None).transpose(1, 2).flatten(2).flatten(0, 1)

        with sdpa_kernel(BACKENDS):
            hidden = self._through(tokens.flatten(), attention)
        return hidden.view(*shape, -1)

    def step(self, tokens: Tensor, cache: Cache, lengths: Tensor, rotation: tuple[Tensor, Tensor], span: int) -> Tensor:
        """float32 logits [B, V] behind one more token [B] for each of the cache's first B rows.

        ``lengths`` [B] says how many positions a row has so far, ``rotation`` all angles [S, D/2]; ``span`` (no
        matter to kernels) is one more than the longest length.
        """
        rows = len(tokens)

        if (kernels := self.kernels) is not None:  # gpu

            def fused(index: int, layer: Layer, projected: Tensor) -> Tensor:
                keys, values, eps = cache.keys[index], cache.values[index], self.config.rms_norm_eps
                mixed: Tensor = kernels.attend(
                    projected, layer.head_norms, rotation, keys, values, lengths, eps, cache.turns
                )
                return mixed

            if rows <= MOST_NARROW and self._narrow:
                return self._step_narrow(tokens, fused)
            return self.logits(self._through(tokens, fused))
        cos, sin = (table[lengths][:, None, None] for table in rotation)
        seen = (torch.arange(span, device=tokens.device) <= lengths[:, None])[:, None, None]
        every = torch.arange(rows, device=tokens.device)

        def plain(index: int, layer: Layer, projected: Tensor) -> Tensor:
            q, k, v = self._heads(layer, projected[:, None], (cos, sin))
            keys, values = cache.keys[index, :rows], cache.values[index, :rows]
            keys[every, :, lengths], values[every, :, lengths] = k[:, 0], v[:, 0]
            return attend(q.transpose(1, 2), keys[:, :, :span], values[:, :, :span], seen).flatten(1)

        return self.logits(self._through(tokens, plain))

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 logits [N, V] of hidden states [N, H]."""
        if hidden.is_cuda and hidden.dtype != torch.float32:  # gpu
            return torch.mm(hidden, self.embedding.T, out_dtype=torch.float32)  # in bf16, many would be equal
        return F.linear(hidden, self.embedding).float()

    def _step_narrow(self, tokens: Tensor, attention: Callable[[int, Layer, Tensor], Tensor]) -> Tensor:  # gpu
        """``logits`` of ``_through``, by products that wait for nothing but memory."""
        from albor.inference.narrow import product

        x, eps = F.embedding(tokens, self.embedding), self.config.rms_norm_eps
        for index, layer in enumerate(self.layers):
            mixed = attention(index, layer, product(x, layer.qkv, norm=layer.attention_norm, eps=eps))
            x = product(mixed, layer.o, residual=x)
            activated = product(x, layer.gate_up, norm=layer.feed_forward_norm, eps=eps, gated=True)
            x = product(activated, layer.down, residual=x)
        return product(x, self.embedding, norm=self.norm, eps=eps, dtype=torch.float32)

    def _through(self, tokens: Tensor, attention: Callable[[int, Layer, Tensor], Tensor]) -> Tensor:
        """Final hidden states [N, H]; ``attention`` makes [N, heads·D] of projections [N, (heads + 2K)·D]."""
        x = F.embedding(tokens, self.embedding)
        owed = torch.zeros_like(x)
        for index, layer in enumerate(self.layers):
            x, normed = self._add_norm(x, owed, layer.attention_norm)
            mixed = attention(index, layer, F.linear(normed, layer.qkv))
            x, normed = self._add_norm(x, F.linear(mixed, layer.o), layer.feed_forward_norm)
            owed = F.linear(self._swiglu(F.linear(normed, layer.gate_up)), layer.down)
        return self._add_norm(x, owed, self.norm)[1]

    def _heads(self, layer: Layer, projected: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, T, heads, D] of projections [B, T, (heads + 2K)·D]."""
        config = self.config
        counts = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
        q, k, v = projected.unflatten(-1, (-1, config.head_width)).split(counts, dim=2)
        if layer.head_norms is not None:
            q, k = (
                _norm(part, scale, config.rms_norm_eps) for part, scale in zip((q, k), layer.head_norms, strict=True)
            )
        return rotate(q, rotation), rotate(k, rotation), v

    def _add_norm(self, x: Tensor, owed: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.kernels is not None:  # gpu
            added, normed = self.kernels.add_norm(x, owed, weight, self.config.rms_norm_eps)
            return added, normed
        x = x + owed
        return x, _norm(x, weight, self.config.rms_norm_eps)

    def _swiglu(self, projected: Tensor) -> Tensor:
        if self.kernels is not None:  # gpu
            activated: Tensor = self.kernels.swiglu(projected)
            return activated
        gate, up = projected.chunk(2, dim=-1)
        return F.silu(gate) * up


def _layer(block: Block, dtype: torch.dtype) -> Layer:
    attention, feed_forward = block.self_attn, block.mlp

    def cast(module: nn.Module) -> Tensor:
        return module.get_parameter("weight").detach().to(dtype)

    q_norm, k_norm = attention.q_norm, attention.k_norm
    return Layer(
        attention_norm=cast(block.input_layernorm),
        qkv=stack((attention.q_proj, attention.k_proj, attention.v_proj), dtype).detach(),
        head_norms=(cast(q_norm), cast(k_norm)) if isinstance(q_norm, RMSNorm) else None,
        o=cast(attention.o_proj),
        feed_forward_norm=cast(block.post_attention_layernorm),
        gate_up=stack((feed_forward.gate_proj, feed_forward.up_proj), dtype).detach(),
        down=cast(feed_forward.down_proj),
    )


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``decoder.RMSNorm``."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)
