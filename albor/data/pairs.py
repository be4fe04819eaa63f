"""Pairs of answers to one prompt, of which the first is to be preferred.

A row of ``2 · seq_len`` tokens is a pair: the prompt with the chosen answer in its first half, with the rejected one in
its second, each padded. So the loader's rows are pairs, and rows cut to ``seq_len`` are the chosen conversations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from albor.data import rows
from albor.data.chat import Conversation, Message
from albor.data.errors import DataError
from albor.data.instruction_rows import Example, InstructionRows, example, held_out, layout
from albor.data.loader import order
from albor.data.pack import STORED_ORDER
from albor.data.parquet import SPLITS, shard
from albor.data.tokenizer import Codec


class PairRows(InstructionRows):
    """Rows that ``pack`` wrote."""

    ENDS = "pair_ends"


@dataclass(frozen=True, slots=True)
class Pair:
    asked: Conversation
    chosen: str
    rejected: str


def pack(
    pairs: Iterable[Pair], codec: Codec, *, seq_len: int, val_fraction: float, seed: int, out: Path
) -> dict[str, Any]:
    """Writes ``out/{train,val}-00000.parquet``, in a random order. A pair of which an answer is too long is left out.

    Returns:
        As facts: ``num_sequences`` and ``val_sequences`` (pairs), ``too_long``, ``row_len`` (twice ``seq_len``),
        ``token_bytes``, ``vocab_size``, ``eos_id`` and ``pad_id``.

    Raises:
        DataError: the tokenizer has no chat tokens, or no pair fits.
    """
    found, too_long = list[tuple[Example, Example]](), 0
    for pair in pairs:
        made = tuple(example(codec, (*pair.asked, Message("assistant", t))) for t in (pair.chosen, pair.rejected))
        if max(len(one.tokens) for one in made) <= seq_len:
            found.append((made[0], made[1]))
        else:
            too_long += 1
    held = held_out([chosen.asked for chosen, _ in found], val_fraction, seed=seed)
    if not found:
        raise DataError(
            f"no pair to train on: {too_long} are longer than {seq_len} tokens, half of data.seq_len",
            help="raise data.seq_len",
        )
    facts: dict[str, Any] = {"too_long": too_long}
    for split in SPLITS:
        mine = [pair for pair, val in zip(found, held, strict=True) if val == (split == "val")]
        stored = order(len(mine), seed=seed, epoch=STORED_ORDER).tolist()
        rows.write(
            shard(out, split, 0),
            (_row(mine[index], seq_len, codec.pad_id) for index in stored),
            row_len=2 * seq_len,
            token_bytes=rows.token_bytes(codec.vocab_size),
            ends=PairRows.ENDS,
        )
        facts["num_sequences" if split == "train" else "val_sequences"] = len(mine)
    return {**facts, "row_len": 2 * seq_len, **layout(codec)}


def _row(pair: tuple[Example, Example], seq_len: int, pad_id: int) -> rows.Row:
    tokens = np.full(2 * seq_len, pad_id, dtype=pair[0].tokens.dtype)
    ends = list[int]()
    for start, one in zip((0, seq_len), pair, strict=True):
        tokens[start : start + len(one.tokens)] = one.tokens
        ends = [*ends[:-1], *(start + end for end in one.ends)]
    return tokens, np.array(ends, dtype=np.int32)
