"""Fill in the middle: a text cut in three and put together so that its middle comes last.

Bavarian et al. 2022 (arXiv:2207.14255). PSM is ``PRE p SUF s MID m EOT``; SPM, the variant that shares a prefix with
it, is ``PRE SUF s MID p m EOT``. The three parts are tokenized each alone, as they arrive at inference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

OVERHEAD = 4
"""Tokens that the form adds: three sentinels and the end of text."""


@dataclass(frozen=True, slots=True)
class FimIds:
    """Token ids of the fill-in-the-middle sentinels."""

    prefix: int
    suffix: int
    middle: int
    pad: int
    """What fills a row; no part of the form."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The chances of one chunk, each uniform in [0, 1)."""

    transform: float
    order: float
    cuts: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in three."""

    prefix: str
    middle: str
    suffix: str


def draw(*, seed: int, sha256: str, copy: int, chunk: int) -> Draw:
    """The chances of one chunk of one copy of one document: a hash, so neither order nor workers matter."""
    digest = hashlib.sha256(f"{seed}:{sha256}:{copy}:{chunk}".encode()).digest()
    # The top 53 bits of each of four words: all that a double holds.
    words = (int.from_bytes(digest[start : start + 8], "big") >> 11 for start in range(0, 32, 8))
    transform, order, first, second = (word / (1 << 53) for word in words)
    return Draw(transform, order, (first, second))


def split(text: str, cuts: tuple[float, float]) -> Parts:
    """``text`` cut at two character positions; every position from before the first to after the last is as likely."""
    first, second = sorted(int(cut * (len(text) + 1)) for cut in cuts)
    return Parts(text[:first], text[first:second], text[second:])


def assemble(
    prefix: Sequence[int], middle: Sequence[int], suffix: Sequence[int], *, fim: FimIds, eos_id: int, spm: bool
) -> list[int]:
    """The tokens of the three parts in PSM or SPM order, closed by ``eos_id``."""
    if spm:
        return [fim.prefix, fim.suffix, *suffix, fim.middle, *prefix, *middle, eos_id]
    return [fim.prefix, *prefix, fim.suffix, *suffix, fim.middle, *middle, eos_id]


def invert(tokens: Sequence[int], *, fim: FimIds, eos_id: int, decode: Callable[[Sequence[int]], str]) -> str:
    """The text that ``assemble`` was given, from either order.

    What stands before SUF and what stands after MID both precede the suffix; in SPM the former is empty, so the two
    orders need not be told apart.

    Raises:
        ValueError: ``tokens`` is not one complete form.
    """
    suffix, middle = tokens.index(fim.suffix), tokens.index(fim.middle)
    if tokens[0] != fim.prefix or tokens[-1] != eos_id or suffix > middle:
        raise ValueError("not a fill-in-the-middle form")
    return decode(tokens[1:suffix]) + decode(tokens[middle + 1 : -1]) + decode(tokens[suffix + 1 : middle])
