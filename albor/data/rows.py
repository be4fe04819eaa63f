"""Rows of tokens in Parquet: written once, read at random, a bounded part in memory.

``tokens`` is one fixed-size binary per row, ``row_len`` little-endian integers of ``token_bytes``; ``doc_ends`` lists
where the pieces of documents in the row end, so the last one is the number of tokens before the padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from albor.data.errors import DataError
from albor.data.parquet import open_file, refusing, write_file

GROUP = 64
"""Rows per row group: what a random read costs."""
CACHE_BYTES = 64 << 20
"""Tokens of the row groups used last that stay in memory; a small corpus stays whole."""
TOKEN_BYTES = b"albor.token_bytes"
DOC_ENDS = pa.list_(pa.field("item", pa.int32(), nullable=False))

Row = tuple[NDArray[np.unsignedinteger], NDArray[np.int32]]
"""Tokens [row_len] and document ends."""


def token_bytes(vocab_size: int) -> int:
    """Bytes that hold every id of a vocabulary: 2 or 4."""
    return 2 if vocab_size <= 1 << 16 else 4


def write(path: Path, rows: Iterable[Row], *, row_len: int, token_bytes: int) -> None:
    """Stream ``rows`` into ``path``, uncompressed; the file appears when it is whole."""
    schema = pa.schema(
        [
            pa.field("tokens", pa.binary(row_len * token_bytes), nullable=False),
            pa.field("doc_ends", DOC_ENDS, nullable=False),
        ],
        metadata={TOKEN_BYTES: str(token_bytes)},
    )
    write_file(path, schema, _tables(rows, schema, f"<u{token_bytes}"), compression="none")


class Rows:
    """The rows of one or several files, numbered through."""

    def __init__(self, paths: Path | Sequence[Path]) -> None:
        """Open ``paths``; only their footers are read.

        Raises:
            DataError: a file is missing, damaged, not a file of rows, or its rows differ from the first file's.
        """
        self._paths = [paths] if isinstance(paths, Path) else list(paths)
        self._files = [open_file(path, columns={"tokens": None, "doc_ends": DOC_ENDS}) for path in self._paths]
        layouts = [_layout(path, file.schema_arrow) for path, file in zip(self._paths, self._files, strict=True)]
        if len(set(layouts)) != 1:
            raise DataError(
                f"the rows of {', '.join(map(str, self._paths))} differ in length or token width",
                help="read together only files that one tokenizer and one row_len made",
            )
        self.row_len, self.token_bytes = layouts[0]
        self.dtype = np.dtype(f"<u{self.token_bytes}")
        counts = [file.num_row_groups for file in self._files]
        self._groups = [(file, group) for file, count in enumerate(counts) for group in range(count)]
        sizes = [self._files[file].metadata.row_group(group).num_rows for file, group in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        group_bytes = max(sizes, default=1) * self.row_len * self.token_bytes
        self._group = lru_cache(maxsize=max(1, CACHE_BYTES // group_bytes))(self._load)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.unsignedinteger], list[NDArray[np.int32]]]:
        """Tokens [len(indices), row_len] in the stored type, and each row's document ends.

        Raises:
            IndexError: an index is out of range.
            DataError: the file is damaged there.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of {len(self)}")
        tokens = np.empty((len(indices), self.row_len), self.dtype)
        doc_ends = [np.empty(0, np.int32)] * len(indices)
        groups = (np.searchsorted(self._starts, indices, side="right") - 1).tolist()
        # In the order of the file: neighbours share a row group.
        for position in np.argsort(indices, kind="stable").tolist():
            group = groups[position]
            stored, offsets, ends = self._group(group)
            row = indices[position] - self._starts[group]
            tokens[position] = stored[row]
            doc_ends[position] = ends[offsets[row] : offsets[row + 1]]
        return tokens, doc_ends

    def _load(self, number: int) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int32], NDArray[np.int32]]:
        file, group = self._groups[number]
        with refusing(self._paths[file]):
            table = self._files[file].read_row_group(group, use_threads=False)
        tokens, doc_ends = (table.column(name).chunk(0) for name in ("tokens", "doc_ends"))
        stored = np.frombuffer(tokens.buffers()[1], self.dtype).reshape(-1, self.row_len)
        return stored, doc_ends.offsets.to_numpy(), doc_ends.values.to_numpy()


def _tables(rows: Iterable[Row], schema: pa.Schema, dtype: str) -> Iterator[pa.Table]:
    stream = iter(rows)
    while batch := list(islice(stream, GROUP)):
        tokens = b"".join(row.astype(dtype).tobytes() for row, _ in batch)
        ends = [row_ends for _, row_ends in batch]
        offsets = np.cumsum([0, *map(len, ends)], dtype=np.int32)
        columns = [
            pa.FixedSizeBinaryArray.from_buffers(schema.field("tokens").type, len(batch), [None, pa.py_buffer(tokens)]),
            pa.ListArray.from_arrays(offsets, np.concatenate(ends).astype(np.int32), type=DOC_ENDS),
        ]
        yield pa.table(columns, schema=schema)


def _layout(path: Path, schema: pa.Schema) -> tuple[int, int]:
    """(row_len, token_bytes)."""
    width = (schema.metadata or {}).get(TOKEN_BYTES, b"").decode()
    kind = schema.field("tokens").type
    if width not in ("2", "4") or not pa.types.is_fixed_size_binary(kind):
        raise DataError(f"{path} does not hold rows that albor packed", help="point to the output of the pack stage")
    return kind.byte_width // int(width), int(width)
