"""One file of documents to one flat file of tokens, cut into pieces that each fit a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from albor.data import arrays
from albor.data import documents as document_files
from albor.data.chunks import Chunker
from albor.data.fim import FimMix
from albor.data.funnel import Stopwatch
from albor.data.steps import Output
from albor.data.tally import Tally
from albor.data.tokenizer import Codec

BATCH = 64
"""Documents tokenized at a time."""
TOKENS, LENGTHS, SOURCES = "tokens.bin", "lengths.npy", "sources.json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What determines the tokens of a document besides the tokenizer."""

    row_len: int
    fim: FimMix
    seed: int
    width: int
    """Bytes of a stored token."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def tokenize(
    codec: Codec, settings: Settings, split: str, documents: Path, directory: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write the pieces of every document, and of every copy of it in training, one after the other.

    ``tokens.bin`` holds little-endian integers of ``settings.width`` bytes, ``lengths.npy`` the pieces' lengths.

    Returns:
        ``documents`` (copies counted), ``bytes`` (UTF-8 of the text, copies counted), ``fim_pieces``,
        ``fim_documents``; and seconds by kind of work. ``sources.json`` has the tokens by source.
    """
    chunker = Chunker(
        codec=codec,
        row_len=settings.row_len,
        fim=settings.fim if split == "train" else replace(settings.fim, rate=0.0),
        seed=settings.seed,
    )
    watch = Stopwatch()
    counts: Counter[str] = Counter(documents=0, bytes=0, fim_pieces=0, fim_documents=0)
    tally = Tally()
    lengths: list[int] = []
    stream = watch.each("read documents", document_files.read(documents))
    with (directory / TOKENS).open("wb") as file:
        while batch := list(islice(stream, BATCH)):
            with watch("encode"):
                texts = chunker.codec.encode_documents([document.text for document in batch])
            with watch("chunk and FIM"):
                for document, text in zip(batch, texts, strict=True):
                    sha256, size = document.sha256, len(document.text.encode())
                    for copy in range(document.copies if split == "train" else 1):
                        pieces = list(chunker.pieces(text, sha256=sha256, copy=copy))
                        flat = [token for piece in pieces for token in piece.tokens]
                        arrays.append(file, np.array(flat, dtype=f"<u{settings.width}"))
                        lengths += [len(piece.tokens) for piece in pieces]
                        transformed = sum(piece.transformed for piece in pieces)
                        counts.update(documents=1, bytes=size, fim_pieces=transformed, fim_documents=transformed > 0)
                        where = (document.source, document.package, document.version, document.licence, split)
                        tally.add(where, tokens=len(flat))
    arrays.save(directory / LENGTHS, np.array(lengths, dtype=np.int32))
    tally.save(directory / SOURCES)
    return dict(counts), dict(watch.seconds)


@lru_cache(maxsize=1)
def load_codec(tokenizer: Path, digest: str) -> Codec:
    """The codec in a directory, kept for the next file; ``digest`` tells one content of the directory from another."""
    codec = Codec.load(tokenizer)
    assert codec.digest == digest, "the tokenizer changed while it was used"
    return codec


class Shards:
    """The tokenized files of one split, as one sequence of pieces."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.outputs = outputs
        loaded = [np.load(output.path / LENGTHS) for output in outputs]
        self.lengths = np.concatenate([np.empty(0, np.int64), *loaded])
        """Tokens of every piece."""
        self.files = np.repeat(np.arange(len(loaded)), [len(part) for part in loaded])
        """The output that every piece lies in."""
        self.offsets = np.concatenate(
            [np.empty(0, np.int64), *(np.cumsum(part, dtype=np.int64) - part for part in loaded)]
        )
        """Where in it the piece starts, in tokens."""

    def total(self, fact: str) -> int:
        return sum(output.facts[fact] for output in self.outputs)
