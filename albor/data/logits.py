"""What a teacher says of each token of each row, in Parquet: written once, read at random by any student.

A file holds the rows of one shard in their order: ``ids`` [seq_len, k] of the student's token type, and for the
likeliest tokens ``log_probs`` [seq_len, k] (float32), each as one fixed-size binary per row. Of chunks of text it holds
``log_probs`` [seq_len, 1] alone (``data/alignment.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from albor.config.schema.distill import Kept
from albor.data.errors import DataError
from albor.data.fixed import FixedColumn
from albor.data.parquet import open_file, write_file

LAYOUT = b"albor.logits"
SPLIT = "train"
Part = tuple[NDArray[Any], ...]
"""By column, each [n, seq_len, k]."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What every file of a run has in common."""

    keep: Kept
    k: int
    """Tokens of each position; 1 for chunks."""
    seq_len: int
    token_bytes: int
    """Of an id: 2 or 4."""
    temperature: float
    """That the distribution was softened by."""

    @property
    def columns(self) -> dict[str, np.dtype[Any]]:
        ids, log_probs = {"ids": np.dtype(f"<u{self.token_bytes}")}, {"log_probs": np.dtype("<f4")}
        return {"sampled": ids, "top_k": ids | log_probs, "chunks": log_probs}[self.keep]

    @property
    def bytes_per_token(self) -> int:
        return self.k * sum(dtype.itemsize for dtype in self.columns.values())


def write(path: Path, parts: Iterable[Part], layout: Layout) -> None:
    """Streams ``parts`` into ``path``, a row group each; the file appears when it is whole."""
    widths = {name: layout.seq_len * layout.k * dtype.itemsize for name, dtype in layout.columns.items()}
    fields = [pa.field(name, pa.binary(width), nullable=False) for name, width in widths.items()]
    schema = pa.schema(fields, metadata={LAYOUT: json.dumps(asdict(layout)).encode()})
    write_file(path, schema, _tables(parts, schema, layout), compression="none")


def _tables(parts: Iterable[Part], schema: pa.Schema, layout: Layout) -> Iterator[pa.Table]:
    for part in parts:
        columns = []
        for values, field, dtype in zip(part, schema, layout.columns.values(), strict=True):
            buffer = pa.py_buffer(np.ascontiguousarray(values, dtype))
            columns.append(pa.FixedSizeBinaryArray.from_buffers(field.type, len(values), [None, buffer]))
        yield pa.table(columns, schema=schema)


class Logits:
    """The rows of several files, numbered through."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Opens ``paths``. Raises DataError when one is missing, damaged, or unlike the first."""
        if not paths:
            raise DataError("no logits are stored here", help="build them: stage=teacher_logits")
        files = [(path, open_file(path, columns=dict.fromkeys(columns_of(path)))) for path in paths]
        layouts = [layout_of(path) for path in paths]
        if any(layout != layouts[0] for layout in layouts):
            raise DataError(f"the logits beside {paths[0]} differ in their layout", help="build them again")
        self.layout = layouts[0]
        self._columns = [[FixedColumn(path, file, name) for name in self.layout.columns] for path, file in files]
        self._starts = np.cumsum([0, *(len(columns[0]) for columns in self._columns)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, indices: NDArray[np.int64], seq_len: int) -> Part:
        """What is stored of the first ``seq_len`` tokens of rows, each [len(indices), seq_len, k]; ids as int32."""
        layout = self.layout
        shape = (len(indices), seq_len, layout.k)
        outs = [np.empty(shape, np.int32 if name == "ids" else dtype) for name, dtype in layout.columns.items()]
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for place, (number, row) in enumerate(zip(numbers.tolist(), indices.tolist(), strict=True)):
            for out, column, dtype in zip(outs, self._columns[number], layout.columns.values(), strict=True):
                stored = column.row(row - int(self._starts[number])).view(dtype)
                out[place] = stored.reshape(layout.seq_len, layout.k)[:seq_len]
        return tuple(outs)


def columns_of(path: Path) -> list[str]:
    return list(layout_of(path).columns)


def layout_of(path: Path) -> Layout:
    import pyarrow.parquet as pq

    from albor.data.parquet import refusing

    with refusing(path):
        metadata = pq.read_schema(path).metadata or {}
    try:
        return Layout(**json.loads(metadata[LAYOUT]))
    except (KeyError, ValueError, TypeError):
        raise DataError(f"{path} does not hold logits that albor stored", help="build them again") from None
