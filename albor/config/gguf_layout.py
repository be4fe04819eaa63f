"""How a decoder lies in a GGUF file: names, types and sizes of its tensors. Needs neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import prod

from albor.config.schema.model import Model
from albor.config.schema.quantize import Kind, Type

BLOCKS: dict[Type, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "q4_k": (256, 144),
    "q6_k": (256, 210),
}
"""Numbers of a block, which never crosses rows, and its bytes (ggml-common.h)."""
NARROWER: dict[Type, Type] = {"q4_k": "q5_0", "q6_k": "q8_0"}
"""What llama.cpp stores instead where rows are no multiple of a block; float16 where that does not fit either."""
EMBEDDING_KINDS: dict[Kind, Type] = {"q4_0": "q8_0", "q4_1": "q8_0", "q5_0": "q8_0", "q5_1": "q8_0", "q4_k_m": "q6_k"}
"""The tied embedding's type unless another is asked for; where none is named, that of the linear layers.

It is the head too. On a trained model of 3.9M parameters (40 rows of 512) Q8_0 costs 0.01% of perplexity and Q5_0 0.2%;
at 350m they are 35.7 and 23.1 MB of 242.3 and 229.7. llama-quantize makes it Q6_K in every file of 4 or 5 bits."""
ALIGNMENT = 32
"""Each tensor begins at a multiple of this many bytes."""

EMBEDDING = ("model.embed_tokens.weight", "token_embd.weight")
NORM = ("model.norm.weight", "output_norm.weight")
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""A block's tensors as transformers and as GGUF name them."""
QK_NORM = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
LARGER = ("attn_v", "ffn_down")
"""What ``q4_k_m`` gives more bits in some blocks."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    source: str
    """Its name in our state dict."""
    name: str
    """Its name in the file."""
    shape: tuple[int, ...]
    type: Type
    heads: int | None = None
    """Heads whose rows GGUF's llama keeps in another order; null where the order is ours."""

    @property
    def bytes(self) -> int:
        size, width = BLOCKS[self.type]
        return prod(self.shape) // size * width


def entries(model: Model, kind: Kind, embedding_kind: Type | None = None) -> Iterator[Entry]:
    """The tensors of a file, in its order."""
    width = model.hidden_size
    embedding = embedding_kind or EMBEDDING_KINDS.get(kind, _type(kind))
    yield _matrix(*EMBEDDING, (model.vocab_size, width), embedding)
    for layer in range(model.num_hidden_layers):
        yield from block(model, kind, layer, more_bits=_more_bits(layer, model.num_hidden_layers))
    yield Entry(*NORM, (width,), "f32")


def block(model: Model, kind: Kind, layer: int, *, more_bits: bool) -> Iterator[Entry]:
    """The tensors of one block; ``more_bits`` where ``q4_k_m`` gives some of them more."""
    width = model.hidden_size
    shapes = {
        "attn_q": (model.q_dim, width),
        "attn_k": (model.kv_dim, width),
        "attn_v": (model.kv_dim, width),
        "attn_output": (width, model.q_dim),
        "ffn_gate": (model.intermediate_size, width),
        "ffn_up": (model.intermediate_size, width),
        "ffn_down": (width, model.intermediate_size),
    }
    # transformers turns a head's first half against its second, llama turns neighbours; qwen3 does as transformers.
    heads = {} if model.qk_norm else {"attn_q": model.num_attention_heads, "attn_k": model.num_key_value_heads}
    for source, name in (BLOCK | QK_NORM if model.qk_norm else BLOCK).items():
        places = f"model.layers.{layer}.{source}.weight", f"blk.{layer}.{name}.weight"
        if shape := shapes.get(name):
            larger = name in LARGER and kind == "q4_k_m" and more_bits
            yield _matrix(*places, shape, "q6_k" if larger else _type(kind), heads.get(name))
        else:
            yield Entry(*places, (model.head_width if source in QK_NORM else width,), "f32")


def gguf_bytes(
    model: Model, kind: Kind, embedding_kind: Type | None = None, *, tokenizer_bytes: int | None = None
) -> int:
    """The size of a file within 1%. Without ``tokenizer_bytes`` a vocabulary of code is assumed: 33 bytes a token, its
    text, type and merge."""
    one = replace(model, num_hidden_layers=1)
    layers = model.num_hidden_layers
    tensors = sum(map(_taken, entries(replace(model, num_hidden_layers=0), kind, embedding_kind)))
    tensors += sum(_block_bytes(one, kind, _more_bits(layer, layers)) for layer in range(layers))
    return tensors + (33 * model.vocab_size if tokenizer_bytes is None else tokenizer_bytes) + 1024


@cache
def _block_bytes(model: Model, kind: Kind, more_bits: bool) -> int:
    return sum(map(_taken, block(model, kind, 0, more_bits=more_bits)))


def _taken(entry: Entry) -> int:
    """Bytes of a tensor with what is said of it."""
    return -(-entry.bytes // ALIGNMENT) * ALIGNMENT + 64


def _matrix(source: str, name: str, shape: tuple[int, ...], wanted: Type, heads: int | None = None) -> Entry:
    """A tensor of the wanted type, or of the next one whose blocks fit its rows."""
    for fitting in (wanted, NARROWER.get(wanted, wanted)):
        if shape[-1] % BLOCKS[fitting][0] == 0:
            return Entry(source, name, shape, fitting, heads)
    return Entry(source, name, shape, "f16", heads)


def block_size(kind: Kind) -> int:
    """Numbers of a block of a file's matrices."""
    return BLOCKS[_type(kind)][0]


def _type(kind: Kind) -> Type:
    return "q4_k" if kind == "q4_k_m" else kind


def _more_bits(layer: int, layers: int) -> bool:
    """llama-quant.cpp, ``use_more_bits``: the first and last eighth of the blocks, and every third between them."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
