"""Rows of new text among rows of what was read before: a share of the tokens is new, the rest keeps the old in mind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from albor.data import rows as row_files
from albor.data.loader import order
from albor.data.pack import SHARD_BYTES, STORED_ORDER
from albor.data.parquet import shard
from albor.data.rows import Rows

SAMPLE = 4096
"""Rows whose lengths stand for all."""


def counts(new: float, old: float, *, of_new: int, of_old: int, share: float) -> tuple[int, int]:
    """How many rows of ``new`` and ``old`` mean tokens to take of ``of_new`` and ``of_old``, as many as there are, so
    that ``share`` of the tokens is new: the kind that there is too much of is taken in part, the other whole."""
    wanted = of_new * new * (1 - share) / (share * old)
    if wanted <= of_old:
        return of_new, round(wanted)
    return max(1, round(of_old * old * share / ((1 - share) * new))), of_old


def mix(new: Rows, old: Rows, *, share: float, seed: int, out: Path) -> dict[str, Any]:
    """Writes ``out/train-*.parquet`` of rows drawn from both, in a random order.

    Returns:
        As facts: ``num_sequences``, ``tokens`` (padding not counted), of these ``text_tokens`` (the new) and
        ``replay_tokens``, and ``text_share``, what their share came to.
    """
    taken = counts(_mean(new), _mean(old), of_new=len(new), of_old=len(old), share=share)
    picked = [
        order(len(kind), seed=seed, epoch=STORED_ORDER)[:count] for kind, count in zip((new, old), taken, strict=True)
    ]
    places = order(sum(taken), seed=seed, epoch=STORED_ORDER)
    tokens = [0, 0]

    def written(part: Any) -> Iterator[row_files.Row]:
        for place in part.tolist():
            kind = int(place >= taken[0])
            index = picked[kind][place - kind * taken[0]]
            found, ends = (new, old)[kind].read(np.array([index]))
            tokens[kind] += int(ends[0][-1])
            yield found[0], ends[0]

    per_shard = max(1, SHARD_BYTES // (new.row_len * new.token_bytes))
    for number, first in enumerate(range(0, len(places), per_shard)):
        part = written(places[first : first + per_shard])
        row_files.write(shard(out, "train", number), part, row_len=new.row_len, token_bytes=new.token_bytes)
    return {
        "num_sequences": len(places),
        "tokens": sum(tokens),
        "text_tokens": tokens[0],
        "replay_tokens": tokens[1],
        "text_share": tokens[0] / sum(tokens),
    }


def _mean(rows: Rows) -> float:
    """Tokens of a row."""
    indices = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64))
    _, ends = rows.read(indices)
    return float(np.mean([row[-1] for row in ends]))
