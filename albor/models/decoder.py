"""The decoder: pre-norm RMSNorm, RoPE, grouped-query attention, SwiGLU, no biases, tied embeddings (the Llama layout).

Shapes: B rows, T tokens, H hidden, K key and value heads, D head width, I feed-forward width, V vocabulary. Parameters
are float32 masters. The residual stream has the computing dtype, and every linear layer casts its master to it:
autocast would keep the stream in float32, at twice the memory traffic. Inference has a pass of its own over the same
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.utils.checkpoint import checkpoint

from albor.config.schema.model import Model
from albor.models import fp8, fused
from albor.models.attention import Mask, attend
from albor.models.loss import linear_cross_entropy

Rotation = tuple[Tensor, Tensor]
Reduced = TypeVar("Reduced")


class Decoder(nn.Module):
    """A causal language model. Its state dict is that of transformers' ``LlamaForCausalLM`` (``Qwen3ForCausalLM`` with
    QK-norm), less the tied head.

    The weights are initialised from torch's global generator; on the meta device nothing is allocated.
    """

    def __init__(
        self, config: Model, dtype: torch.dtype = torch.float32, *, activation_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        """The computing dtype: float32 or bfloat16."""
        self.activation_checkpointing = activation_checkpointing
        self.fp8: fp8.Scales | None = None
        """When given, feed-forward layers compute in fp8 while training."""
        self.model = Backbone(config)
        self.initialize()

    def initialize(self) -> None:
        """Normal(0, initializer_range); what writes to the residual stream shrinks by 1/√(2L), as in GPT-2.

        Every matrix has a generator of its own, seeded by the global one, so that they are drawn side by side.
        """
        if self.model.embed_tokens.weight.is_meta:
            return
        std = self.config.initializer_range
        shrunk = std / (2 * self.config.num_hidden_layers) ** 0.5
        seed = int(torch.randint(2**48, (), device="cpu"))

        def draw(index: int, name: str, parameter: nn.Parameter) -> None:
            if name.endswith("norm.weight"):
                parameter.detach().fill_(1.0)
            else:
                generator = torch.Generator(parameter.device).manual_seed(seed + index)
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                parameter.detach().normal_(0.0, shrunk if last else std, generator=generator)

        with ThreadPoolExecutor() as pool:
            list(pool.map(draw, count(), *zip(*self.named_parameters(), strict=True)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of ``tokens`` [B, T], in the computing dtype."""
        return F.linear(self.hidden(tokens), self.model.embed_tokens.weight.to(self.dtype))

    def hidden(self, tokens: Tensor, mask: Mask = None) -> Tensor:
        """Final hidden states [B, T, H]."""
        x, owed = self._blocks(tokens, mask)
        normed: Tensor = self.model.norm(x + owed)
        return normed

    def _blocks(self, tokens: Tensor, mask: Mask = None) -> tuple[Tensor, Tensor]:
        """The residual stream after the last block, in two parts that are still to be added, each [B, T, H].

        A mask (``attention.documents``) says which earlier tokens each one sees; without it, all of them.
        """
        config, x = self.config, F.embedding(tokens, self.model.embed_tokens.weight).to(self.dtype)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        rotation = rotary(positions, config.head_width, config.rope_theta, self.dtype)
        scales = self.fp8 if self.training else None
        # It has a gradient as later ones do, so that one compiled block fits all.
        owed = torch.zeros_like(x, requires_grad=x.requires_grad)
        for index, layer in enumerate(self.model.layers):
            scale = None if scales is None else scales.of(index)
            if self.activation_checkpointing and self.training:
                x, owed = checkpoint(layer, x, owed, rotation, mask, scale, use_reentrant=False)
            else:
                x, owed = layer(x, owed, rotation, mask, scale)
        return x, owed

    def loss_sum(self, tokens: Tensor, labels: Tensor, mask: Mask = None, *, z_loss: float = 0.0) -> Tensor:
        """Summed cross-entropy (nats, float32 scalar) of ``labels`` [B, T]: the next tokens, or -100 where ignored.

        ``z_loss`` adds that weight times log²Z of each token's softmax (PaLM, section 5).
        """
        return self._loss(*self._blocks(tokens, mask), labels, z_loss)

    def reduce(self, tokens: Tensor, mask: Mask, loss: Callable[[Tensor, Tensor], Reduced]) -> Reduced:
        """What ``loss`` makes of the final hidden states [B·T, H] and the head [V, H]: another objective."""
        return loss(self.hidden(tokens, mask).flatten(0, 1), self.model.embed_tokens.weight)

    def loss_rows(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """``loss_sum`` of every row by itself, float32 [B]."""
        x, owed = self._blocks(tokens)
        return torch.stack(
            [self._loss(*row, 0.0) for row in zip(x.split(1), owed.split(1), labels.split(1), strict=True)]
        )

    def _loss(self, x: Tensor, owed: Tensor, labels: Tensor, z_loss: float) -> Tensor:
        hidden: Tensor = self.model.norm(x + owed).flatten(0, 1)
        return linear_cross_entropy(hidden, self.model.embed_tokens.weight, labels.flatten(), z_loss)

    def compile_regions(self) -> None:
        """Compiles a block, once for all of them, and the loss: a whole graph takes three times as long to compile and
        is no faster."""
        # Their graphs hold both passes of our autograd functions, so a cached one is as good as a new one, and a third
        # of the time to the first step.
        functorch_config.autograd_cache_allow_custom_autograd_functions = True
        for layer in self.model.layers:
            layer.compile(dynamic=False, fullgraph=True)
        self._loss = torch.compile(self._loss, dynamic=False, fullgraph=True)  # type: ignore[method-assign]


class Backbone(nn.Module):
    def __init__(self, config: Model) -> None:
        super().__init__()
        self.embed_tokens = Linear(config.hidden_size, config.vocab_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Block(nn.Module):
    """Attention, then the feed-forward layer, each on the normed residual stream and added to it.

    The last addition is left to what comes next, which reads the sum anyway: there it costs no pass over memory.
    """

    def __init__(self, config: Model) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        owed: Tensor,
        rotation: Rotation,
        mask: Mask,
        scale: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        x = x + owed
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), rotation, mask))
        return x, self.dropout(self.mlp(self.post_attention_layernorm(x), scale))


class Attention(nn.Module):
    def __init__(self, config: Model) -> None:
        super().__init__()
        self.head_dim = config.head_width
        self.q_proj = Linear(config.hidden_size, config.q_dim)
        self.k_proj = Linear(config.hidden_size, config.kv_dim)
        self.v_proj = Linear(config.hidden_size, config.kv_dim)
        self.o_proj = Linear(config.q_dim, config.hidden_size)
        self.q_norm = RMSNorm(config.head_width, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_width, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor, rotation: Rotation, mask: Mask) -> Tensor:
        q, k, v = self._heads(x, rotation)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask)
        projected: Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return projected

    def _heads(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [B, T, heads, D], the first two rotated."""
        layers = self.q_proj, self.k_proj, self.v_proj
        if x.is_cuda and isinstance(self.q_norm, nn.Identity) and plain(layers):  # gpu
            heads = self.q_proj.weight.shape[0] // self.head_dim
            return fused.rotated_heads(x, stack(layers, x.dtype), *rotation, self.head_dim, heads)
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)) for part in project(x, layers))
        return rotate(self.q_norm(q), rotation), rotate(self.k_norm(k), rotation), v


class FeedForward(nn.Module):
    def __init__(self, config: Model) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor, scale: tuple[Tensor, Tensor] | None = None) -> Tensor:
        if scale is not None:  # gpu
            return fp8.feed_forward(x, self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight, *scale)
        if x.is_cuda and plain((self.gate_proj, self.up_proj, self.down_proj)):  # gpu
            return fused.feed_forward(
                x, stack((self.gate_proj, self.up_proj), x.dtype), self.down_proj.weight.to(x.dtype)
            )
        projected: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return projected


class Linear(nn.Linear):
    """A matrix [out, in] without a bias. The embedding is one too: its rows are looked up, and it is the tied head."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """``Decoder.initialize`` draws all weights; torch's own draw would cost time and random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / √(mean(x²) + eps) · weight; the mean is taken in float32 (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight.to(x.dtype) * wide.to(x.dtype)


def project(x: Tensor, layers: Sequence[Linear]) -> tuple[Tensor, ...]:
    """What each of ``layers`` makes of ``x``; on a GPU by one matrix product, which fills it better than several."""
    if x.is_cuda and plain(layers):  # gpu
        rows = [layer.weight.shape[0] for layer in layers]
        parts: tuple[Tensor, ...] = F.linear(x, stack(layers, x.dtype)).split(rows, -1)
        return parts
    return tuple(layer(x) for layer in layers)


def plain(layers: Sequence[nn.Module]) -> bool:
    """Whether the weights of ``layers`` say all that they do: an adapter around one adds to it."""
    return all(isinstance(layer, Linear) for layer in layers)


def stack(layers: Sequence[Linear], dtype: torch.dtype) -> Tensor:
    """The weights of ``layers`` one below the other, in the computing dtype."""
    return torch.cat([layer.weight for layer in layers]).to(dtype)


def rotary(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> Rotation:
    """Cosines and sines of the rotary embedding (Su et al., 2021): [T, 1, D/2] of positions [T], [B, T, 1, D/2] of
    [B, T]."""
    # 1 / θ^x and not θ^-x: the last bit is transformers'.
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    angles = (positions[..., None].float() * frequencies).unsqueeze(-2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotates the pairs (i, i + D/2) of x [B, T, heads, D] by their position's angle."""
    cos, sin = rotation
    if x.is_cuda and cos.dim() == 3:  # gpu
        rotated: Tensor = fused.Rotate.apply(x, cos, sin)
        return rotated
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)
