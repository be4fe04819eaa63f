"""Hashes of a text's words, without a Python object per word: what near-duplicate search and decontamination count in.

A word is a run of ASCII letters, digits and underscores, ``[A-Za-z_0-9]+``; everything else only separates words.
"""

from __future__ import annotations

import string
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_WORD = (string.ascii_letters + string.digits + "_").encode()
_EXACT = bytes(byte if byte in _WORD else 0 for byte in range(256))
_FOLDED = _EXACT.lower()
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_USUAL_BITS = 19
"""One table of powers serves all texts of up to 2^19 bytes: 100,000 characters of any script."""


def word_hashes(text: str, *, fold: bool) -> Hashes:
    """64-bit hash of every word of ``text`` in order, shape [words]; with ``fold`` case does not count.

    Equal words have equal hashes, in any text; of n different words two share one with probability about n^2 / 2^65.
    Lone surrogates are as good as any other separator.
    """
    values, starts, ends = _words(text, _FOLDED if fold else _EXACT)
    return spans(values, starts, ends)


def numbers(text: str) -> NDArray[np.bool_]:
    """Which words of ``text`` begin with a digit, shape [words]."""
    values, starts, _ = _words(text, _EXACT)
    first: NDArray[np.bool_] = values[starts] <= ord("9")
    return first


def rolling(hashes: Hashes, n: int) -> Hashes:
    """Hash of every run of ``n`` consecutive ``hashes``, order-sensitive, shape [max(0, len(hashes) - n + 1)]."""
    if len(hashes) < n:
        return np.empty(0, dtype=np.uint64)
    sums, inverses = _prefixes(hashes)
    return mix((sums[n:] - sums[:-n]) * inverses[: len(hashes) - n + 1])


def spans(values: NDArray[np.uint8] | Hashes, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> Hashes:
    """Hash of ``values[s:e]`` for every s in ``starts`` with its e in ``ends``, whatever stands around it."""
    sums, inverses = _prefixes(values)
    return mix((sums[ends] - sums[starts]) * inverses[starts])


def mix(x: Hashes) -> Hashes:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection; ``x`` is overwritten."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _words(text: str, table: bytes) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.intp]]:
    """The bytes of ``text``, zero where there is no word, and where in them every word begins and ends."""
    # Zeros around the text make every word begin and end inside it.
    codes = (b"\0" + text.encode("utf-8", "surrogatepass") + b"\0").translate(table)
    values = np.frombuffer(codes, dtype=np.uint8)
    inside = values != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    return values, edges[::2], edges[1::2]


def _prefixes(values: NDArray[np.uint8] | Hashes) -> tuple[Hashes, Hashes]:
    """Rabin's polynomial of every prefix of ``values`` modulo 2^64, the empty one first; and what to multiply the
    difference of two of them by so that it does not matter where it stood."""
    powers, inverses = _powers(max(_USUAL_BITS, len(values).bit_length()))
    sums = np.empty(len(values) + 1, dtype=np.uint64)
    sums[0] = 0
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    return sums, inverses


@lru_cache(maxsize=2)
def _powers(bits: int) -> tuple[Hashes, Hashes]:
    """The first 2^``bits`` powers of the base, and their inverses, modulo 2^64."""
    tables = np.empty((2, 1 << bits), dtype=np.uint64)
    tables[0], tables[1] = _BASE, pow(_BASE, -1, 1 << 64)
    tables[:, 0] = 1
    np.multiply.accumulate(tables, axis=1, out=tables)
    return tables[0], tables[1]
