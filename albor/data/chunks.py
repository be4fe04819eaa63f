"""One document as pieces that each fit a row: plain, or in fill-in-the-middle form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from albor.data.encoded import Encoded
from albor.data.fim import OVERHEAD, Draw, assemble, draw, split
from albor.data.tokenizer import Codec

SLACK = 3
"""Tokens left free at first when a window of a long text is transformed: two cuts seldom cost more."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens that stay together in one row."""

    tokens: list[int]
    transformed: bool
    """In fill-in-the-middle form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """Cuts documents to rows of ``row_len`` and transforms a share ``fim_rate`` of the pieces.

    Whether a piece is transformed is known before its extent: a plain piece fills the row, a transformed one leaves
    room for its sentinels. Plain pieces close with EOS only where the document ends; transformed ones always do.
    """

    codec: Codec
    row_len: int
    fim_rate: float
    fim_spm_rate: float
    seed: int

    def pieces(self, text: Encoded, *, sha256: str, copy: int = 0) -> Iterator[Piece]:
        """The pieces of a document. Put back together they are the whole text.

        ``sha256`` is the document's and ``copy`` counts its repetitions: with the seed they determine every chance.
        """
        start = chunk = 0
        while start < len(text):
            chances = draw(seed=self.seed, sha256=sha256, copy=copy, chunk=chunk)
            made = self._transformed(text, start, chances) if chances.transform < self.fim_rate else None
            start, piece = made or self._plain(text, start)
            chunk += 1
            yield piece

    def _plain(self, text: Encoded, start: int) -> tuple[int, Piece]:
        left = len(text) - start
        if left < self.row_len:
            return len(text), Piece([*text.ids[start:], self.codec.eos_id], False)
        # One token stays behind, or EOS would have no row to stand in.
        limit = start + min(self.row_len, left - 1)
        end = (text.cut(start, limit) if self.fim_rate else None) or limit
        return end, Piece(text.ids[start:end], False)

    def _transformed(self, text: Encoded, start: int, chances: Draw) -> tuple[int, Piece] | None:
        """None when no whole character fits, or ``start`` lies inside one."""
        fim = self.codec.fim
        assert fim is not None, "pack() has checked it"
        room = self.row_len - OVERHEAD
        left = len(text) - start
        size = left if left <= room else room - SLACK
        while (end := text.cut(start, start + size)) is not None:
            parts = split(text.between(start, end), chances.cuts)
            prefix, middle, suffix = self.codec.encode_parts(text, start, (parts.prefix, parts.middle, parts.suffix))
            excess = len(prefix) + len(middle) + len(suffix) - room
            if excess <= 0:
                spm = chances.order < self.fim_spm_rate
                tokens = assemble(prefix, middle, suffix, fim=fim, eos_id=self.codec.eos_id, spm=spm)
                return end, Piece(tokens, True)
            size -= excess
        return None
