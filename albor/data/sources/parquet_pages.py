"""How large the pages of a Parquet file are, from their headers: a page is decoded whole, whatever a reader asks for.

The footer gives sizes of whole row groups only. A header is a struct in Thrift's compact protocol (PageHeader in the
format's parquet.thrift); of its fields the first numbers are what is wanted here.
"""

from __future__ import annotations

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

UNPACKED, PACKED = 2, 3
"""Fields of PageHeader: bytes of the page once decompressed, and as it lies in the file."""
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
DEPTH = 8
"""Structs within structs; the format has three."""


def largest_page(file: IO[bytes], chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes of the column chunk's largest page, decompressed. Raises ArrowInvalid for what is no page."""
    start = min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset)
    end = start + chunk.total_compressed_size
    largest = 0
    file.seek(start)
    while file.tell() < end:
        header = _struct(file, DEPTH)
        packed = header.get(PACKED, -1)
        if packed < 0:
            raise pa.ArrowInvalid("a damaged page header")
        largest = max(largest, header.get(UNPACKED, 0))
        file.seek(packed, 1)
    return largest


def _struct(file: IO[bytes], depth: int) -> dict[int, int]:
    """The numbers among the fields; the rest is passed over."""
    if not depth:
        raise pa.ArrowInvalid("a damaged page header")
    numbers = {}
    field = 0
    while head := _byte(file):
        step, kind = divmod(head, 16)
        field = field + step if step else _number(file)
        if kind in (I16, I32, I64):
            numbers[field] = _number(file)
        elif kind == STRUCT:
            _struct(file, depth - 1)
        elif kind == BINARY:
            file.seek(_varint(file), 1)
        elif kind in (BYTE, DOUBLE):
            file.seek(1 if kind == BYTE else 8, 1)
        elif kind not in (TRUE, FALSE):
            raise pa.ArrowInvalid("a damaged page header")
    return numbers


def _number(file: IO[bytes]) -> int:
    value = _varint(file)
    return value >> 1 ^ -(value & 1)


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = _byte(file)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise pa.ArrowInvalid("a damaged page header")


def _byte(file: IO[bytes]) -> int:
    byte = file.read(1)
    if not byte:
        raise pa.ArrowInvalid("a page is cut off")
    return byte[0]
