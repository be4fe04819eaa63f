"""Conversations packed into rows, in which only the assistant's words are targets.

Files like those of ``rows``, with ``segment_ends`` in place of ``doc_ends``: where the segments of a row end, in turn
one that is only read and one that is learnt. A conversation is followed by the end of text, as documents are, so
trainer.document_mask keeps the conversations of a row apart.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.data import chat, rows
from albor.data.chat import Conversation, render
from albor.data.errors import DataError
from albor.data.loader import order
from albor.data.pack import STORED_ORDER
from albor.data.packing import best_fit
from albor.data.parquet import SPLITS, shard
from albor.data.tokenizer import Codec


class InstructionRows(rows.Rows):
    """Rows that ``pack`` wrote. Only what is learnt is a target."""

    ENDS = "segment_ends"

    def learnt(self, ends: Sequence[NDArray[np.int32]]) -> NDArray[np.bool_]:
        masks = [chat.learnt(row_ends, self.row_len) for row_ends in ends]
        return np.stack(masks) if masks else np.empty((0, self.row_len), dtype=bool)


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from."""

    asked: str
    """What stands before the first answer; examples that share it are never split between training and validation."""
    tokens: NDArray[np.unsignedinteger]
    """With the end of text."""
    ends: tuple[int, ...]
    """Where its segments end; the first and the last are only read."""
    learnt_bytes: int
    """UTF-8 bytes of the answers."""

    @property
    def learnt_tokens(self) -> int:
        return sum(self.ends[1::2]) - sum(self.ends[:-1:2])


def example(codec: Codec, conversation: Conversation) -> Example:
    """``conversation`` as tokens. Raises DataError when the tokenizer has no chat tokens."""
    rendered = render(codec, conversation)
    before = takewhile(lambda message: message.role != "assistant", conversation)
    answers = [message.content.strip() for message in conversation if message.role == "assistant"]
    dtype = f"<u{rows.token_bytes(codec.vocab_size)}"
    return Example(
        asked="\0".join(f"{message.role}\n{message.content.strip()}" for message in before),
        tokens=np.array([*rendered.tokens, codec.eos_id], dtype=dtype),
        ends=(*rendered.ends[:-1], rendered.ends[-1] + 1),
        learnt_bytes=len("".join(answers).encode()),
    )


def pack(
    conversations: Iterable[Conversation],
    codec: Codec,
    *,
    row_len: int,
    val: float | Iterable[Conversation],
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """Writes ``out/{train,val}-00000.parquet``: rows of ``row_len`` tokens, each of as many whole conversations as fit.

    ``val`` are conversations for validation, or the share of the prompts that is held out for it. A conversation that
    is longer than a row is left out and counted. The tokens of all are in memory at once.

    Returns:
        As facts: ``examples``, ``val_examples`` and ``too_long`` (conversations), ``num_sequences`` and
        ``val_sequences`` (rows), ``tokens`` and ``val_tokens`` (padding not counted), ``learnt_tokens`` and
        ``val_learnt_tokens`` (targets: the answers and what closes them), ``val_bytes`` (UTF-8, of the text that the
        val_learnt_tokens stand for), ``fill`` (of the training rows), ``row_len``, ``token_bytes``, ``vocab_size``,
        ``eos_id`` and ``pad_id``.

    Raises:
        DataError: the tokenizer has no chat tokens, or no conversation fits a row.
    """
    found, too_long = _fitting(conversations, codec, row_len)
    if isinstance(val, int | float):
        held = held_out([made.asked for made in found], val, seed=seed)
        splits = {
            split: [made for made, is_val in zip(found, held, strict=True) if is_val == (split == "val")]
            for split in SPLITS
        }
    else:
        others, more = _fitting(val, codec, row_len)
        splits, too_long = {"train": found, "val": others}, too_long + more
    if not splits["train"]:
        raise DataError(
            f"no conversation to train on: {too_long} are longer than data.seq_len={row_len} tokens",
            help="raise data.seq_len, or give other instructions",
        )
    facts: dict[str, Any] = {"too_long": too_long}
    for split in SPLITS:
        facts |= _write(splits[split], codec, row_len, seed, shard(out, split, 0), "" if split == "train" else "val_")
    return {
        **facts,
        "val_bytes": sum(made.learnt_bytes for made in splits["val"]),
        "row_len": row_len,
        **layout(codec),
    }


def _fitting(conversations: Iterable[Conversation], codec: Codec, row_len: int) -> tuple[list[Example], int]:
    """Those that fit a row, and how many do not."""
    found, too_long = list[Example](), 0
    for conversation in conversations:
        made = example(codec, conversation)
        if len(made.tokens) <= row_len:
            found.append(made)
        else:
            too_long += 1
    return found, too_long


def layout(codec: Codec) -> dict[str, int]:
    """What rows say of the tokenizer that made them."""
    return {
        "token_bytes": rows.token_bytes(codec.vocab_size),
        "vocab_size": codec.vocab_size,
        "eos_id": codec.eos_id,
        "pad_id": codec.pad_id,
    }


def held_out(asked: Sequence[str], fraction: float, *, seed: int) -> list[bool]:
    """Which examples are for validation: those of the ``fraction`` of prompts with the lowest hashes, rounded up, but
    never all."""
    keys = [hashlib.sha256(f"{seed}:{prompt}".encode()).hexdigest() for prompt in asked]
    prompts = sorted(set(keys))
    chosen = set(prompts[: max(0, min(math.ceil(fraction * len(prompts)), len(prompts) - 1))])
    return [key in chosen for key in keys]


def _write(found: Sequence[Example], codec: Codec, row_len: int, seed: int, path: Path, prefix: str) -> dict[str, Any]:
    lengths = np.array([len(made.tokens) for made in found], dtype=np.int64)
    packing = best_fit(lengths, row_len)

    def packed() -> Iterator[rows.Row]:
        for index in order(len(packing), seed=seed, epoch=STORED_ORDER).tolist():
            yield _row([found[piece] for piece in packing.row(index).tolist()], row_len, codec.pad_id)

    width = rows.token_bytes(codec.vocab_size)
    rows.write(path, packed(), row_len=row_len, token_bytes=width, ends=InstructionRows.ENDS)
    facts: dict[str, Any] = {
        f"{prefix or 'num_'}sequences": len(packing),
        f"{prefix}examples": len(found),
        f"{prefix}tokens": int(lengths.sum()),
        f"{prefix}learnt_tokens": sum(made.learnt_tokens for made in found),
    }
    return facts if prefix else {**facts, "fill": packing.fill}


def _row(examples: Sequence[Example], row_len: int, pad_id: int) -> rows.Row:
    tokens = np.concatenate([made.tokens for made in examples])
    padding = np.full(row_len - len(tokens), pad_id, dtype=tokens.dtype)
    ends, offset = list[int](), 0
    for made in examples:
        # What is read at the end of one goes on into what is read at the beginning of the next.
        ends = [*ends[:-1], *(offset + end for end in made.ends)]
        offset += len(made.tokens)
    return np.concatenate([tokens, padding]), np.array(ends, dtype=np.int32)
