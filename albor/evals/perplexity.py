"""How well a model predicts held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from albor.data.loader import sequential
from albor.data.rows import Rows
from albor.errors import AlborError
from albor.inference.engine import Engine, Score
from albor.models.loss import LARGEST

ROWS = 16
"""Rows between two reports of progress."""


def losses(
    engine: Engine, rows: Rows, *, limit: int | None, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Score]:
    """How well each of the first ``limit`` rows is predicted."""
    seq_len = min(rows.row_len, engine.context)
    total = len(rows) if limit is None else min(limit, len(rows))
    found: list[Score] = []
    for tokens, labels in sequential(rows, batch_size=ROWS, seq_len=seq_len, limit=limit):
        found += engine.score(tokens.tolist(), labels.tolist())
        progress(len(found), total)
    return found


def perplexity(scores: Sequence[Score], *, bytes_per_token: float | None) -> dict[str, Any]:
    """Mean cross-entropy (nats a token) and what follows from it, of all rows together.

    Returns val_loss, val_ppl = exp(val_loss), the tokens that were predicted, and, where the bytes behind a token are
    known, val_bits_per_byte = val_loss / (bytes_per_token · ln 2) and val_byte_ppl = 2 ** val_bits_per_byte: the two
    that compare across tokenizers. Raises AlborError when the loss has no perplexity.
    """
    nll, count = 0.0, 0
    for score in scores:
        nll, count = nll + score.nll, count + score.count
    loss = nll / count
    if not loss <= LARGEST:  # nor if it is not a number
        raise AlborError(
            f"the loss of these rows is {loss:.4g}: the model has diverged", "measure an earlier checkpoint"
        )
    out = {"val_loss": loss, "val_ppl": math.exp(loss), "val_tokens": count, "val_rows": len(scores)}
    if bytes_per_token:
        bits = loss / (bytes_per_token * math.log(2))
        out |= {"val_bits_per_byte": bits, "val_byte_ppl": 2.0**bits}
    return out
