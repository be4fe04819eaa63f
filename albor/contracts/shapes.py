"""Contracts on shapes: the model against itself, its tokenizer and its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from albor.config.merging import head_width
from albor.config.schema.finetune import Dpo
from albor.config.schema.tokenizer import MIN_BPE_VOCAB, BpeTokenizer, HfTokenizer
from albor.contracts.base import RECOVERY, TRAINING, Case, Found, contract


@contract(
    "C-MODEL-001",
    "Heads divide the width",
    formula="heads | hidden, unless head_dim is given beside qk_norm (transformers asks it of every Llama); "
    "kv_heads | heads; head_dim even (RoPE rotates pairs)",
    stages=TRAINING,
)
def heads(case: Case) -> Iterator[Found]:
    m = case.cfg.model
    if m.hidden_size % m.num_attention_heads and not m.any_heads:
        message = f"{m.num_attention_heads} heads do not divide a width of {m.hidden_size}"
        fix = f"model.num_attention_heads={_divisor(m.hidden_size, m.num_attention_heads)}"
        yield "error", "model.num_attention_heads", message, fix
    elif m.head_width % 2:
        message = f"a head of {m.head_width} cannot be rotated in pairs"
        fix = "choose heads so that hidden_size / heads is even, or give model.head_dim"
        yield "error", "model.head_dim" if m.head_dim else "model.num_attention_heads", message, fix
    if m.num_attention_heads % m.num_key_value_heads:
        message = f"{m.num_key_value_heads} key-value heads do not divide {m.num_attention_heads} heads"
        fix = f"model.num_key_value_heads={_divisor(m.num_attention_heads, m.num_key_value_heads)}"
        yield "error", "model.num_key_value_heads", message, fix


def _divisor(n: int, near: int) -> int:
    return min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: (abs(d - near), d))


@contract(
    "C-MODEL-002",
    "The model's vocabulary is the tokenizer's",
    formula="model.vocab_size = tokenizer.vocab_size, and the vocabulary of the rows",
    history="A teacher with 151,936 tokens was once set against a student with 32,768.",
    stages=TRAINING,
    needs=("C-DATA-003", "C-DATA-004"),
)
def vocabulary(case: Case) -> Iterator[Found]:
    cfg = case.cfg
    tokenizer = case.inputs.get("tokenizer", {}).get("vocab_size", case.tokenizer.vocab_size)
    rows = case.inputs.get("rows", {}).get("vocab_size", tokenizer)
    if rows != cfg.model.vocab_size:
        message = f"the model has {cfg.model.vocab_size:,} tokens, its tokenizer {rows:,}"
        yield "error", "model.vocab_size", message, f"model.vocab_size={rows}, or another tokenizer"


@contract(
    "C-MODEL-003",
    "A sequence fits the context",
    formula="data.seq_len ≤ model.max_position_embeddings",
    stages=TRAINING,
)
def context(case: Case) -> Iterator[Found]:
    seq_len, most = case.cfg.data.seq_len, case.cfg.model.max_position_embeddings
    if seq_len > most:
        message = f"sequences of {seq_len:,} tokens are longer than the context of {most:,}"
        fix = f"data.seq_len={most}, or model.max_position_embeddings={seq_len}"
        yield "error", "data.seq_len", message, fix


ELSEWHERE = ("init_from", "teacher")
"""Inputs whose tokenizer is a matter of other contracts."""
SHAPE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "rope_theta",
    "rms_norm_eps",
    "qk_norm",
)


@contract(
    "C-MODEL-004",
    "The weights to start from have the model's shape",
    formula="each of hidden, layers, heads, kv_heads, head_dim, ffn, vocab, RoPE's base, eps and QK-norm is the "
    "checkpoint's",
    stages=TRAINING,
)
def initial_weights(case: Case) -> Iterator[Found]:
    given = case.inputs.get("init_from", {}).get("model_config", {})
    if not given and "init_from" in case.planned:
        given = vars(case.planned["init_from"].model)
    given, own = ({**shape, "head_dim": head_width(shape)} for shape in (given, vars(case.cfg.model)))
    for key in SHAPE:
        ours, theirs = own[key], given.get(key)
        if isinstance(theirs, (int, float)) and not math.isclose(theirs, ours):
            a, b = (str(value).lower() if isinstance(value, bool) else f"{value:,}" for value in (ours, theirs))
            message = f"the model has {key} {a}, the weights of init_from have {b}"
            yield "error", f"model.{key}", message, f"model.{key}={b.replace(',', '')}, or other weights"


ROWS_BY = {
    "pretrain": "up.pack.data.row_len",
    "distill": "up.pack.data.row_len",
    "finetune": "up.instructions.data.seq_len",
    RECOVERY: "up.pack.data.row_len",
}
"""What says how long the rows are that a stage trains on."""


@contract(
    "C-DATA-001",
    "A row holds a sequence",
    formula="data.seq_len ≤ length of the rows; what is longer is cut, but for pairs of answers, which are never cut",
    history="The original trained 1,024-token sequences on 2,048-token rows and lost half of its data unnoticed.",
    stages=TRAINING,
)
def rows(case: Case) -> Iterator[Found]:
    seq_len, row_len = case.cfg.data.seq_len, case.row_len
    pairs = case.stage == "finetune" and isinstance(case.cfg.objective, Dpo)
    longer = "up.preferences.data.seq_len" if pairs else ROWS_BY[case.stage]
    fix = f"data.seq_len={row_len}, or {longer}={seq_len}"
    if seq_len > row_len:
        message = f"sequences of {seq_len:,} tokens are longer than the rows of {row_len:,}"
        yield "error", "data.seq_len", message, fix
    elif seq_len < row_len and pairs:
        message = f"rows of {row_len:,} tokens are pairs of answers, which cannot be cut to {seq_len:,}"
        yield "error", "data.seq_len", message, fix
    elif seq_len < row_len:
        lost = 1 - seq_len / row_len
        message = f"rows of {row_len:,} tokens are cut to {seq_len:,}: {lost:.0%} of the data is not trained on"
        yield "warning", "data.seq_len", message, fix


@contract(
    "C-DATA-004",
    "Rows, tokenizer and model speak of the same tokens",
    formula="the SHA-256 of the tokenizer is the same in all inputs that name it",
    stages=(*TRAINING, "generate"),
)
def same_tokenizer(case: Case) -> Iterator[Found]:
    named = {k: f["tokenizer_sha256"] for k, f in case.inputs.items() if k not in ELSEWHERE and "tokenizer_sha256" in f}
    if len(set(named.values())) > 1:
        message = f"the inputs {' and '.join(sorted(named))} were made with different tokenizers"
        yield "error", "inputs", message, "give inputs that belong together, or let them be built"


@contract(
    "C-DATA-002",
    "Fill-in-the-middle needs its tokens",
    formula="fim_rate > 0 ⇒ the tokenizer has prefix, suffix and middle tokens",
    stages=("pack",),
)
def fim_tokens(case: Case) -> Iterator[Found]:
    tokenizer = case.tokenizer
    if case.cfg.data.fim_rate > 0 and isinstance(tokenizer, HfTokenizer):
        absent = [k for k in ("fim_prefix", "fim_suffix", "fim_middle") if getattr(tokenizer, k) is None]
        if absent:
            message = f"fim_rate is {case.cfg.data.fim_rate:g}, but tokenizer.{absent[0]} is not named"
            yield "error", "data.fim_rate", message, f"name it: tokenizer.{absent[0]}='<…>'; or data.fim_rate=0"


@contract(
    "C-DATA-003",
    "A vocabulary holds the specials and every byte",
    formula="vocab_size ≥ 16 + 256",
    history="The original's first tokenizer split on white space and destroyed Python's indentation; a full byte "
    "alphabet cannot lose a character.",
    stages=("tokenizer",),
)
def byte_alphabet(case: Case) -> Iterator[Found]:
    tokenizer = case.cfg.tokenizer
    if isinstance(tokenizer, BpeTokenizer) and tokenizer.vocab_size < MIN_BPE_VOCAB:
        message = f"{tokenizer.vocab_size} tokens cannot hold 16 specials and 256 bytes"
        yield "error", "tokenizer.vocab_size", message, f"tokenizer.vocab_size={MIN_BPE_VOCAB} at least"
