"""Columns of values of one size in a Parquet file, addressed by arithmetic."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from albor.data.errors import DataError


class FixedColumn:
    """A column of a file that ``parquet.write_file`` wrote uncompressed, mapped.

    A row group's values are one page as they are, so a row lies where arithmetic says, and reading it costs no more
    than its bytes: decoding the whole group for one row of it takes ten times as long. Raises DataError for another
    layout.
    """

    def __init__(self, path: Path, parquet: pq.ParquetFile, name: str) -> None:
        self.path = path
        self.width: int = parquet.schema_arrow.field(name).type.byte_width
        """Bytes of a row."""
        self._bytes = np.memmap(path, np.uint8, mode="r")
        metadata, number = parquet.metadata, parquet.schema_arrow.names.index(name)
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        self._first = list(accumulate((group.num_rows for group in groups), initial=0))
        self._places = [self._place(group.column(number), group.num_rows) for group in groups]

    def __len__(self) -> int:
        return int(self._first[-1])

    def row(self, row: int) -> NDArray[np.uint8]:
        """The bytes of a row [width], not copied."""
        group = bisect_right(self._first, row) - 1
        start = self._places[group] + (row - self._first[group]) * self.width
        return self._bytes[start : start + self.width]

    def _place(self, column: Any, rows: int) -> int:
        """Where the first row of a group lies in the file."""
        size = rows * self.width
        start, length = column.data_page_offset, column.total_compressed_size
        # PageHeader in Thrift's compact form: field 1, the type, is DATA_PAGE; field 2 is the page's size.
        expected = bytes([0x15, 0x00, 0x15]) + _varint(2 * size)
        head = self._bytes[start : start + len(expected)].tobytes()
        if column.compression != "UNCOMPRESSED" or head != expected or start + length > len(self._bytes):
            raise DataError(
                f"{self.path} is not laid out as albor writes rows: its pages cannot be addressed",
                help="pack the rows again; another program has rewritten the file",
            )
        return int(start + length - size)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
