"""Rows of tokens in Parquet: written once, read at random, a bounded part in memory.

``tokens`` is one fixed-size binary per row, ``row_len`` little-endian integers of ``token_bytes``; ``doc_ends`` lists
where the pieces of documents in the row end, so the last one is the number of tokens before the padding. Rows of
another kind (``instruction_rows``) call their ends otherwise, so that neither is taken for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from albor.data.errors import DataError
from albor.data.fixed import FixedColumn
from albor.data.parquet import open_file, refusing, write_file

GROUP = 64
"""Rows per row group."""
TOKEN_BYTES = b"albor.token_bytes"
DOC_ENDS = "doc_ends"
ENDS = pa.list_(pa.field("item", pa.int32(), nullable=False))

Row = tuple[NDArray[np.unsignedinteger], NDArray[np.int32]]
"""Tokens [row_len] and the ends of what is in them."""


def token_bytes(vocab_size: int) -> int:
    """Bytes that hold every id of a vocabulary: 2 or 4."""
    return 2 if vocab_size <= 1 << 16 else 4


def write(path: Path, rows: Iterable[Row], *, row_len: int, token_bytes: int, ends: str = DOC_ENDS) -> None:
    """Stream ``rows`` into ``path``, uncompressed; the file appears when it is whole. ``ends`` is a column's name."""
    schema = pa.schema(
        [
            pa.field("tokens", pa.binary(row_len * token_bytes), nullable=False),
            pa.field(ends, ENDS, nullable=False),
        ],
        metadata={TOKEN_BYTES: str(token_bytes)},
    )
    write_file(path, schema, _tables(rows, schema, f"<u{token_bytes}"), compression="none")


class Rows:
    """The rows of one or several files, numbered through."""

    ENDS = DOC_ENDS

    def __init__(self, paths: Path | Sequence[Path]) -> None:
        """Open ``paths``; only their footers are read.

        Raises:
            DataError: there is no file, or one is missing, damaged, not a file of rows, or unlike the first.
        """
        self._files = [_File(path, self.ENDS) for path in ([paths] if isinstance(paths, Path) else paths)]
        if not self._files:
            raise DataError("there are no rows here", help="point to the output of the pack stage, or build it")
        layouts = {(file.row_len, file.token_bytes) for file in self._files}
        if len(layouts) != 1:
            raise DataError(
                f"the rows of {', '.join(str(file.path) for file in self._files)} differ in length or token width",
                help="read together only files that one tokenizer and one row_len made",
            )
        self.row_len, self.token_bytes = layouts.pop()
        self.dtype = np.dtype(f"<u{self.token_bytes}")
        self._starts = np.cumsum([0, *(len(file) for file in self._files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.unsignedinteger], list[NDArray[np.int32]]]:
        """Tokens [len(indices), row_len] in the stored type, and each row's ends. Threads may share it.

        Raises:
            IndexError: an index is out of range.
            DataError: the file is damaged there.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of {len(self)}")
        tokens = np.empty((len(indices), self.row_len), self.dtype)
        ends = []
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        places = indices - self._starts[numbers]
        for position, (number, row) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            tokens[position] = self._files[number].tokens(row)
            ends.append(self._files[number].ends(row))
        return tokens, ends

    def learnt(self, ends: Sequence[NDArray[np.int32]]) -> NDArray[np.bool_]:
        """Which tokens of rows with these ends are targets [len(ends), row_len]: all that are not padding."""
        filled = np.array([row_ends[-1] for row_ends in ends])[:, None]
        return np.arange(self.row_len) < filled


class _File:
    """One file of rows, mapped."""

    def __init__(self, path: Path, ends: str) -> None:
        self.path, self._column = path, ends
        self._parquet = open_file(path, columns={"tokens": None, ends: ENDS})
        self.row_len, self.token_bytes = _layout(path, self._parquet.schema_arrow)
        self._dtype = np.dtype(f"<u{self.token_bytes}")
        self._tokens = FixedColumn(path, self._parquet, "tokens")

    def __len__(self) -> int:
        return len(self._tokens)

    def tokens(self, row: int) -> NDArray[np.unsignedinteger]:
        return self._tokens.row(row).view(self._dtype)

    def ends(self, row: int) -> NDArray[np.int32]:
        offsets, values = self._ends
        return values[offsets[row] : offsets[row + 1]]

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        with refusing(self.path):
            column = self._parquet.read(columns=[self._column], use_threads=False).column(0).combine_chunks()
        return column.offsets.to_numpy(), column.values.to_numpy()


def _tables(rows: Iterable[Row], schema: pa.Schema, dtype: str) -> Iterator[pa.Table]:
    stream = iter(rows)
    while batch := list(islice(stream, GROUP)):
        tokens = b"".join(row.astype(dtype).tobytes() for row, _ in batch)
        ends = [row_ends for _, row_ends in batch]
        offsets = np.cumsum([0, *map(len, ends)], dtype=np.int32)
        columns = [
            pa.FixedSizeBinaryArray.from_buffers(schema.field("tokens").type, len(batch), [None, pa.py_buffer(tokens)]),
            pa.ListArray.from_arrays(offsets, np.concatenate(ends).astype(np.int32), type=ENDS),
        ]
        yield pa.table(columns, schema=schema)


def _layout(path: Path, schema: pa.Schema) -> tuple[int, int]:
    """(row_len, token_bytes)."""
    width = (schema.metadata or {}).get(TOKEN_BYTES, b"").decode()
    kind = schema.field("tokens").type
    if width not in ("2", "4") or not pa.types.is_fixed_size_binary(kind):
        raise DataError(f"{path} does not hold rows that albor packed", help="point to the output of the pack stage")
    return kind.byte_width // int(width), int(width)
