"""Rows of one tokenizer's tokens beside another's: the smallest chunks of text that both can say the likelihood of.

A chunk is a stretch of a document's bytes that begins and ends where tokens of both tokenizers do, and holds no
other such place (Minixhofer et al. 2025, arXiv 2503.20083). Between equal tokenizers it is a token.
Control tokens are chunks by themselves, each matched with the other tokenizer's token of the same role or name.

What is known of a chunk stands in a row of numbers as long as the row's tokens, at the place of the token before its
last one: where a student predicts that. A log-probability is at most 0; INSIDE says that no chunk ends there,
UNSCORED that one ends there whose likelihood one of the two cannot say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from albor.data.errors import DataError
from albor.data.token_layout import is_byte_level
from albor.data.tokenizer import FILE, Codec

INSIDE, UNSCORED = 2.0, 1.0
WAYS_OUT = "a teacher with a byte-level tokenizer, or text that it writes: distill=text"
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTE_OF = {chr(byte): byte for byte in _PRINTED} | {
    chr(0x100 + n): byte for n, byte in enumerate(byte for byte in range(256) if byte not in _PRINTED)
}
"""The alphabet of byte-level tokenizers (GPT-2's): a printed character for each byte."""


def spellings(codec: Codec, whose: str) -> list[bytes | None]:
    """The bytes that each id stands for in a text; None for control tokens and for ids without a token.

    Raises DataError when the tokenizer does not spell texts in bytes.
    """
    layout = json.loads(codec.files()[FILE])
    if not is_byte_level(layout):
        raise DataError(f"the {whose}'s tokenizer is not byte-level: its tokens are not a text's bytes", help=WAYS_OUT)
    added = {token["content"] for token in layout["added_tokens"]}
    found: list[bytes | None] = [None] * codec.vocab_size
    for token, number in codec.vocabulary.items():
        if token in added:
            found[number] = token.encode() if token.isspace() else None  # a run of spaces is text
        elif all(character in BYTE_OF for character in token):
            found[number] = bytes(BYTE_OF[character] for character in token)
    return found


@dataclass
class Document:
    """What a teacher reads of one piece of a row, and the chunks of it that it can score."""

    row: int
    """In the batch."""
    ids: list[int]
    """The teacher's tokens, after the one that begins its texts if it has one."""
    places: list[int] = field(default_factory=list)
    """Where in the row each chunk is written down."""
    starts: list[int] = field(default_factory=list)
    """Where in ``ids`` it begins: not 0, of which there is no prediction."""
    ends: list[int] = field(default_factory=list)


@dataclass
class _Run:
    """Text between two control tokens, or one of these."""

    start: int
    """Place in the row of its first token."""
    ids: list[int]
    control: int | None = None
    """The teacher's token of it."""
    raw: bytes = b""
    skipped: int = 0
    """Bytes at its beginning that are the rest of a character."""
    theirs: list[int] = field(default_factory=list)
    """The teacher's tokens."""


class Alignment:
    """Rows of a student's tokens, read by a teacher."""

    def __init__(self, student: Codec, teacher: Codec, *, start_id: int | None, context: int) -> None:
        """``start_id`` is the token that begins the teacher's texts; ``context`` the most tokens that it reads.

        Raises DataError when a tokenizer does not spell texts in bytes.
        """
        self.teacher, self.start_id, self.context = teacher, start_id, context
        self._own, self._their = spellings(student, "student"), spellings(teacher, "teacher")
        self._controls = controls(student, teacher)

    def read(
        self, tokens: NDArray[np.unsignedinteger], ends: Sequence[NDArray[np.int32]], seq_len: int
    ) -> tuple[NDArray[np.float32], list[Document]]:
        """Marks [B, seq_len] of rows of ``tokens`` [B, row_len] whose pieces end at ``ends``, all chunks UNSCORED, and
        the documents whose scores say more."""
        marks = np.full((len(tokens), seq_len), INSIDE, dtype=np.float32)
        pieces = [(row, runs) for row, own in enumerate(tokens) for runs in self._pieces(own, ends[row], seq_len + 1)]
        texts = [run for _, runs in pieces for run in runs if run.control is None and run.raw]
        encoded = self.teacher.encode_batch([run.raw.decode() for run in texts])
        for run, ids in zip(texts, encoded, strict=True):
            run.theirs = ids
        return marks, [self._document(row, runs, marks[row]) for row, runs in pieces]

    def _pieces(
        self, tokens: NDArray[np.unsignedinteger], ends: NDArray[np.int32], length: int
    ) -> Iterator[list[_Run]]:
        start = 0
        for end in np.minimum(ends, length).tolist():
            if end > start:
                yield list(self._runs(tokens[start:end].tolist(), start))
            start = end

    def _runs(self, ids: list[int], start: int) -> Iterator[_Run]:
        first = 0
        for place, token in enumerate([*ids, -1]):
            if token != -1 and self._own[token] is not None:
                continue
            if place > first:
                run = _Run(start + first, ids[first:place])
                raw = b"".join(self._own[token] or b"" for token in run.ids)
                run.raw, run.skipped = whole_characters(raw)
                yield run
            if token != -1:
                yield _Run(start + place, [token], control=self._controls.get(token, -1))
            first = place + 1

    def _document(self, row: int, runs: Sequence[_Run], marks: NDArray[np.float32]) -> Document:
        found = Document(row, [] if self.start_id is None else [self.start_id])
        last = runs[-1].start + len(runs[-1].ids)
        for run in runs:
            if run.control is not None:
                own, theirs, complete = np.array([0, 1]), np.array([0, 1]), run.control != -1
                run.theirs = [run.control] if complete else []
            else:
                own, theirs, complete = self._cuts(run)
            if run.theirs and len(own):
                self._add(found, run, own, theirs, marks)
            if not complete:
                break
        if 1 <= last - 1 <= len(marks):  # what is left of a piece is a chunk that nobody scores
            marks[last - 2] = min(marks[last - 2], UNSCORED)
        return found

    def _cuts(self, run: _Run) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """The cuts that both tokenizers have in common, in tokens of either, and whether they reach over all of it."""
        own = _bounds([len(self._own[token] or b"") for token in run.ids]) - run.skipped
        spelt = [self._their[token] or b"" for token in run.theirs]
        if b"".join(spelt) != run.raw:  # the teacher reads another text: it normalises what it is given
            return own[:0], own[:0], False
        theirs = _bounds([len(token) for token in spelt])
        _, ours, others = np.intersect1d(own, theirs, return_indices=True)
        return ours, others, run.skipped == 0 and int(own[-1]) == int(theirs[-1])

    def _add(
        self,
        found: Document,
        run: _Run,
        own: NDArray[np.int64],
        theirs: NDArray[np.int64],
        marks: NDArray[np.float32],
    ) -> None:
        """Takes the chunks of a run: they end after the tokens ``own[1:]``, and of the teacher's ``theirs[1:]``."""
        before = len(found.ids)
        found.ids += run.theirs
        places = run.start + own - 2  # of the token before the last one of what lies before the cut
        marks[places[(places >= 0) & (own > 0)]] = UNSCORED
        predicted = (run.start + own[:-1] > 0) & (before + theirs[:-1] > 0) & (before + theirs[1:] <= self.context)
        found.places += places[1:][predicted].tolist()
        found.starts += (before + theirs[:-1][predicted]).tolist()
        found.ends += (before + theirs[1:][predicted]).tolist()

    def write(
        self, marks: NDArray[np.float32], documents: Sequence[Document], scores: Sequence[NDArray[np.float32]]
    ) -> None:
        """Enters what a teacher says into ``marks``: of each document the log-probabilities of its tokens but the
        first, as many as were scored."""
        for document, score in zip(documents, scores, strict=True):
            if document.places:
                sums = np.concatenate([[0.0, 0.0], np.cumsum(score, dtype=np.float64)])
                found = sums[document.ends] - sums[document.starts]
                marks[document.row, document.places] = np.minimum(found, 0.0)


def whole_characters(raw: bytes) -> tuple[bytes, int]:
    """``raw`` without what it has of a character's end at its beginning, and of one's beginning at its end; and the
    bytes that were left out before it. Nothing is left of what is no UTF-8 between them either."""
    first = next((place for place, byte in enumerate(raw) if byte & 0xC0 != 0x80), len(raw))
    text = raw[first:]
    try:
        text.decode()
    except UnicodeDecodeError as error:
        text = text[: error.start]
    return text, first


def controls(student: Codec, teacher: Codec) -> dict[int, int]:
    """The student's control tokens that the teacher has, too: by their role, or else by their name."""
    theirs = teacher.vocabulary
    layout = json.loads(student.files()[FILE])
    found = {t["id"]: theirs[t["content"]] for t in layout["added_tokens"] if t["content"] in theirs}
    if student.fim is not None and teacher.fim is not None:
        found[student.fim.prefix] = teacher.fim.prefix
        found[student.fim.suffix] = teacher.fim.suffix
        found[student.fim.middle] = teacher.fim.middle
    return found | {student.eos_id: teacher.eos_id}


def _bounds(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
