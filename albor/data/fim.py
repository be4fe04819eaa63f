"""Fill in the middle: a text cut in three and put together so that its middle comes last.

Bavarian et al. 2022 (arXiv:2207.14255). PSM is ``PRE p SUF s MID m EOT``; SPM, the variant that shares a prefix with
it, is ``PRE SUF s MID p m EOT``. The three parts are tokenized each alone, as they arrive at inference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FimMix:
    """How much of the training text has holes, and which."""

    rate: float
    """Share of the text in fill-in-the-middle form."""
    spm_rate: float
    """Of its pieces, the share in SPM order."""
    line_rate: float = 0.0
    """Of its pieces, the share whose hole ends where a line does."""
    min_tokens: int | None = None
    """A row's length of it is cut into 1, 2, 4 … pieces, of one hole each, all as likely, down to pieces of so many
    tokens; None always makes one."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> FimMix:
        """What the section ``data`` of a finished run says, also of one that was made before there were all keys."""
        return cls(**{name.removeprefix("fim_"): value for name, value in data.items() if name.startswith("fim_")})


@dataclass(frozen=True, slots=True)
class Draw:
    """The chances of one chunk, each uniform in [0, 1)."""

    transform: float
    order: float
    cuts: tuple[float, float]
    lines: float
    """Whether the hole ends where a line does."""
    hole: tuple[float, float, float, float]
    """Such a hole's: see ``split_lines``."""
    pieces: float
    """How many pieces the next row's length of text is cut into."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in three."""

    prefix: str
    middle: str
    suffix: str


def draw(*, seed: int, sha256: str, copy: int, chunk: int) -> Draw:
    """The chances of one chunk of one copy of one document: a hash, so neither order nor workers matter."""
    name = f"{seed}:{sha256}:{copy}:{chunk}".encode()
    digest = hashlib.sha256(name).digest() + hashlib.sha512(name).digest()
    # The top 53 bits of each word: all that a double holds.
    words = (int.from_bytes(digest[start : start + 8], "big") >> 11 for start in range(0, 80, 8))
    transform, order, first, second, lines, a, b, c, d, pieces = (word / (1 << 53) for word in words)
    return Draw(transform, order, (first, second), lines, (a, b, c, d), pieces)


def split(text: str, cuts: tuple[float, float]) -> Parts:
    """``text`` cut at two character positions; every position from before the first to after the last is as likely."""
    first, second = sorted(int(cut * (len(text) + 1)) for cut in cuts)
    return Parts(text[:first], text[first:second], text[second:])


def split_lines(text: str, hole: tuple[float, float, float, float]) -> Parts:
    """``text`` without the rest of a line, or of several: what an editor asks for.

    The first line is any that is not blank; the hole begins with it, or at any character inside it, each half of the
    time. It has two lines half as often as one, three half as often as two and so on, and half of the time the line
    end behind it. A text of blank lines has an empty hole.
    """
    which, column, length, end = hole
    lines = text.splitlines(keepends=True)
    written = [number for number, line in enumerate(lines) if line.strip()]
    if not written:
        return split(text, (which, which))
    first = written[int(which * len(written))]
    last = min(first + int(-math.log2(1 - length)), len(lines) - 1)
    inside = max(0.0, 2 * column - 1) * len(lines[first].rstrip("\r\n"))
    before, through = sum(map(len, lines[:first])), sum(map(len, lines[: last + 1]))
    start = before + int(inside)
    stop = through if end < 0.5 else through - len(lines[last]) + len(lines[last].rstrip("\r\n"))
    return Parts(text[:start], text[start : max(start, stop)], text[max(start, stop) :])


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
