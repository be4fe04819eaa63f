"""One document as pieces that each fit a row: plain, or in fill-in-the-middle form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from albor.data.encoded import Encoded
from albor.data.fim import OVERHEAD, Draw, FimMix, assemble, draw, split, split_lines
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
    """Cuts documents to rows of ``row_len`` and transforms a share of the pieces.

    Whether a piece is transformed is known before its extent: a plain piece fills the row, a transformed one leaves
    room for its sentinels. Plain pieces close with EOS only where the document ends; transformed ones always do.
    """

    codec: Codec
    row_len: int
    fim: FimMix
    seed: int

    def pieces(self, text: Encoded, *, sha256: str, copy: int = 0) -> Iterator[Piece]:
        """The pieces of a document. Put back together they are the whole text.

        ``sha256`` is the document's and ``copy`` counts its repetitions: with the seed they determine every chance.
        """
        start = chunk = holes = left = 0
        while start < len(text):
            chances = draw(seed=self.seed, sha256=sha256, copy=copy, chunk=chunk)
            if not left and chances.transform < self.fim.rate:
                holes = left = 2 ** int(chances.pieces * self._most_holes.bit_length())
            made = self._transformed(text, start, self.row_len // holes, chances) if left else None
            start, piece = made or self._plain(text, start)
            chunk, left = chunk + 1, max(0, left - 1)
            yield piece

    @property
    def _most_holes(self) -> int:
        return max(1, self.row_len // (self.fim.min_tokens or self.row_len))

    def _plain(self, text: Encoded, start: int) -> tuple[int, Piece]:
        left = len(text) - start
        if left < self.row_len:
            return len(text), Piece([*text.ids[start:], self.codec.eos_id], False)
        # One token stays behind, or EOS would have no row to stand in.
        limit = start + min(self.row_len, left - 1)
        end = (text.cut(start, limit) if self.fim.rate else None) or limit
        return end, Piece(text.ids[start:end], False)

    def _transformed(self, text: Encoded, start: int, length: int, chances: Draw) -> tuple[int, Piece] | None:
        """A piece of at most ``length`` tokens. None when no whole character fits, or ``start`` lies inside one."""
        ids = self.codec.fim
        assert ids is not None, "pack() has checked it"
        room = length - OVERHEAD
        left = len(text) - start
        size = left if left <= room else room - SLACK
        while (end := text.cut(start, start + size)) is not None:
            whole = text.between(start, end)
            by_lines = chances.lines < self.fim.line_rate
            parts = split_lines(whole, chances.hole) if by_lines else split(whole, chances.cuts)
            prefix, middle, suffix = self.codec.encode_parts(text, start, (parts.prefix, parts.middle, parts.suffix))
            excess = len(prefix) + len(middle) + len(suffix) - room
            if excess <= 0:
                spm = chances.order < self.fim.spm_rate
                tokens = assemble(prefix, middle, suffix, fim=ids, eos_id=self.codec.eos_id, spm=spm)
                return end, Piece(tokens, True)
            size -= excess
        return None
