"""A packed row as a person reads it: its pieces, what form each has, and which text stands where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from albor.data.tokenizer import Codec

Form = Literal["plain", "PSM", "SPM"]
Kind = Literal["text", "prefix", "suffix", "middle"]


@dataclass(frozen=True)
class Mark:
    """A control token."""

    name: str
    """FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, EOS or PAD."""


@dataclass(frozen=True)
class Text:
    """What tokens between two marks decode to. After FIM_MIDDLE in SPM the prefix comes before the middle."""

    text: str
    kind: Kind


@dataclass(frozen=True)
class Piece:
    """A document, or a part of one, in a row."""

    form: Form
    """PSM with an empty prefix looks like SPM, and is called that."""
    tokens: int
    parts: list[Mark | Text]


def pieces(tokens: Sequence[int], doc_ends: Sequence[int], codec: Codec) -> list[Piece]:
    """The pieces of a row; its padding is no piece.

    Args:
        tokens: the row's ids [row_len].
        doc_ends: where its pieces end.
    """
    spans = [tokens[start:end] for start, end in pairwise([0, *doc_ends])]
    return [Piece(_form(span, codec), len(span), list(_parts(span, codec))) for span in spans]


def _form(tokens: Sequence[int], codec: Codec) -> Form:
    if codec.fim is None or not tokens or tokens[0] != codec.fim.prefix:
        return "plain"
    return "SPM" if tokens[1:2] == [codec.fim.suffix] else "PSM"


def _parts(tokens: Sequence[int], codec: Codec) -> Iterator[Mark | Text]:
    names = {codec.eos_id: "EOS", codec.pad_id: "PAD"}
    kinds: dict[int, Kind] = {}
    if codec.fim is not None:
        names |= {codec.fim.prefix: "FIM_PREFIX", codec.fim.suffix: "FIM_SUFFIX", codec.fim.middle: "FIM_MIDDLE"}
        kinds = {codec.fim.prefix: "prefix", codec.fim.suffix: "suffix", codec.fim.middle: "middle"}
    kind: Kind = "text"
    start = 0
    for end, token in enumerate([*tokens, None]):
        if token is None or token in names:
            if start < end:
                yield Text(codec.decode(tokens[start:end], skip_special=False), kind)
            if token is not None:
                yield Mark(names[token])
                kind = kinds.get(token, "text")
            start = end + 1
