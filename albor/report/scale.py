"""Where a perplexity stands between untrained and excellent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from albor.report.formats import number
from albor.report.model import Headline

REFERENCE_VOCAB = 32_768
LANDMARKS = ((1_000.0, "token frequencies"), (100.0, "syntax and idioms"), (30.0, "good"), (10.0, "excellent"))
"""SPEC §6, for a vocabulary of 32,768 and a model of about 350M."""
BEST = 4.0
NEAR = 8.0
"""Percent of the scale below which the names of two landmarks would lie over each other."""


@dataclass(frozen=True)
class Mark:
    """A place on the scale: ``at`` in percent from untrained (0) to the best shown (100)."""

    at: float
    value: str
    label: str


@dataclass(frozen=True)
class Scale:
    landmarks: tuple[Mark, ...]
    before: Mark | None
    after: Mark
    note: str
    """What the landmarks hold for, and whether that is this model."""


def perplexity_scale(headline: Headline) -> Scale | None:
    """The scale of a run that was validated; ``None`` for one that was not (or whose perplexity is not finite)."""
    after, before = headline.val_ppl_after, headline.val_ppl_before
    if after is None or not math.isfinite(after) or after < 1:
        return None
    vocab = headline.vocab_size or REFERENCE_VOCAB
    best = min(BEST, after)

    def mark(value: float, label: str) -> Mark:
        share = math.log(vocab / value) / math.log(vocab / best)
        return Mark(round(100 * min(1.0, max(0.0, share)), 2), number(value if value % 1 else int(value)), label)

    landmarks = [mark(vocab, "untrained")]
    for value, label in LANDMARKS:
        if value < vocab and (following := mark(value, label)).at - landmarks[-1].at >= NEAR:
            landmarks.append(following)
    known = before is not None and math.isfinite(before) and before >= 1
    return Scale(
        landmarks=tuple(landmarks),
        before=mark(before, "before") if known and before is not None else None,
        after=mark(after, "after"),
        note=_note(headline.vocab_size),
    )


def _note(vocab: int | None) -> str:
    if vocab is None:
        return f"The landmarks are for a vocabulary of {REFERENCE_VOCAB:,}; this model's is not recorded."
    untrained = f"An untrained model starts at its vocabulary, {vocab:,}."
    if vocab == REFERENCE_VOCAB:
        return f"{untrained} The other landmarks are for that vocabulary too."
    reads = "lower" if vocab < REFERENCE_VOCAB else "higher"
    return (
        f"{untrained} The other landmarks are for a vocabulary of {REFERENCE_VOCAB:,}: with this one the same quality "
        f"reads {reads}, so compare bits per byte."
    )
