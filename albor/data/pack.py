"""From documents to shuffled rows of tokens, for training and for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.data import documents as document_files
from albor.data import rows as row_files
from albor.data.chunks import Chunker
from albor.data.errors import DataError
from albor.data.loader import order
from albor.data.packing import Packing, best_fit
from albor.data.tokenizer import Codec

BATCH = 64
"""Documents tokenized at a time."""
MIN_ROW_LEN = 16
"""A row holds the sentinels, EOS and some text."""
STORED_ORDER = -1
"""The epoch whose order the file has; training's epochs count from 0."""


def pack(
    documents: Path,
    codec: Codec,
    *,
    row_len: int,
    fim_rate: float,
    fim_spm_rate: float,
    seed: int,
    out: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Turn ``documents/{train,val}.parquet`` into ``out/{train,val}.parquet``; validation is never transformed.

    ``progress`` is called with the number of documents tokenized so far. Two runs write the same bytes.

    Returns:
        ``num_sequences`` and ``val_sequences`` (rows), ``tokens`` and ``val_tokens`` (EOS and sentinels counted,
        padding not), ``val_bytes`` (UTF-8, of the text that the val_tokens stand for: bits per byte is the mean loss
        in nats times val_tokens / val_bytes / ln 2), ``fill`` (of the training rows), ``row_len``, ``token_bytes``,
        ``vocab_size``, ``eos_id``, ``pad_id``, ``pieces`` and of those ``fim_pieces``, and ``fim_documents``
        (training documents with at least one transformed piece).

    Raises:
        DataError: FIM is asked of a tokenizer without its tokens, rows are too short, or a file cannot be read.
    """
    if fim_rate > 0 and codec.fim is None:
        raise DataError(
            f"data.fim_rate={fim_rate} needs fill-in-the-middle tokens, which the tokenizer does not name",
            help="set data.fim_rate=0, or tokenizer.fim_prefix, fim_suffix and fim_middle",
        )
    if row_len < MIN_ROW_LEN:
        raise DataError(f"rows of {row_len} tokens are too short", help=f"set data.row_len to {MIN_ROW_LEN} or more")
    chunker = Chunker(codec=codec, row_len=row_len, fim_rate=fim_rate, fim_spm_rate=fim_spm_rate, seed=seed)
    width = row_files.token_bytes(codec.vocab_size)
    train = _tokenize(documents / "train.parquet", chunker, width, progress)
    val = _tokenize(
        documents / "val.parquet", replace(chunker, fim_rate=0.0), width, lambda done: progress(train.documents + done)
    )
    packings = {}
    for split, part in (("train", train), ("val", val)):
        packing = packings[split] = best_fit(part.lengths, row_len)
        rows = _rows(part, packing, order(len(packing), seed=seed, epoch=STORED_ORDER), row_len, codec.pad_id)
        row_files.write(out / f"{split}.parquet", rows, row_len=row_len, token_bytes=width)
    return {
        "num_sequences": len(packings["train"]),
        "val_sequences": len(packings["val"]),
        "tokens": int(train.lengths.sum()),
        "val_tokens": int(val.lengths.sum()),
        "val_bytes": val.text_bytes,
        "fill": packings["train"].fill,
        "row_len": row_len,
        "token_bytes": width,
        "vocab_size": codec.vocab_size,
        "eos_id": codec.eos_id,
        "pad_id": codec.pad_id,
        "pieces": len(train.pieces),
        "fim_pieces": train.fim_pieces,
        "fim_documents": train.fim_documents,
    }


@dataclass(slots=True)
class _Tokenized:
    """One split's pieces and what went into them."""

    pieces: list[NDArray[np.unsignedinteger]] = field(default_factory=list)
    documents: int = 0
    text_bytes: int = 0
    fim_pieces: int = 0
    fim_documents: int = 0

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(piece) for piece in self.pieces], dtype=np.int64)


def _tokenize(path: Path, chunker: Chunker, width: int, progress: Callable[[int], None]) -> _Tokenized:
    result = _Tokenized()
    stream = document_files.read(path)
    while batch := list(islice(stream, BATCH)):
        encodings = chunker.codec.encode_with_offsets([document.text for document in batch])
        for document, encoding in zip(batch, encodings, strict=True):
            pieces = list(chunker.pieces(document, encoding))
            transformed = sum(piece.transformed for piece in pieces)
            result.pieces += [np.array(piece.tokens, dtype=f"<u{width}") for piece in pieces]
            result.documents += 1
            result.text_bytes += len(document.text.encode())
            result.fim_pieces += transformed
            result.fim_documents += transformed > 0
        progress(result.documents)
    return result


def _rows(
    part: _Tokenized, packing: Packing, stored_order: NDArray[np.int64], row_len: int, pad_id: int
) -> Iterator[row_files.Row]:
    for row in stored_order.tolist():
        pieces = [part.pieces[piece] for piece in packing.row(row)]
        doc_ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int32)
        padding = np.full(row_len - doc_ends[-1], pad_id, dtype=pieces[0].dtype)
        yield np.concatenate([*pieces, padding]), doc_ends
