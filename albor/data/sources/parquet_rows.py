"""Parquet files of any columns, in memory a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from albor.data.sources.rules import LONGEST

ROWS = 64
"""Rows decoded at a time."""
BUFFER = 1 << 20
"""Bytes read at a time from each column: a row group may be larger than memory."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself."""

    columns: dict[str, pa.DataType]
    rows: tuple[int, ...]
    """Of each row group."""
    bytes: tuple[int, ...]
    """Of the text column in each row group, unpacked."""


def footer(file: IO[bytes], text: str) -> Footer:
    """Raises what Arrow raises for something that is not whole Parquet."""
    parquet = pq.ParquetFile(file, pre_buffer=False)
    metadata = parquet.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return Footer(
        columns={field.name: field.type for field in parquet.schema_arrow},
        rows=tuple(group.num_rows for group in groups),
        bytes=tuple(_size(group, text) for group in groups),
    )


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def rows(
    file: IO[bytes], columns: list[str], text: str, start: int, end: int | None, max_characters: int
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The number in the file of each row of the row groups [start, end), with the values of ``columns``.

    In place of the values stands the reason where the text cannot be had: "too_long" (it is not decoded), "encoding".
    """
    parquet = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
    metadata = parquet.metadata
    number = sum(metadata.row_group(group).num_rows for group in range(start))
    groups = list(range(start, metadata.num_row_groups if end is None else end))
    for batch in parquet.iter_batches(ROWS, row_groups=groups, columns=columns, use_threads=False):
        for values in _values(batch, text, LONGEST * max_characters):
            yield number, values
            number += 1


def _values(batch: pa.RecordBatch, text: str, most: int) -> Iterator[dict[str, Any] | str]:
    others = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != text}
    texts = batch.column(text)
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    # As bytes, for one that is not UTF-8 would take the whole batch with it.
    texts = texts.cast(pa.large_binary())
    too_long = pc.fill_null(pc.greater(pc.binary_length(texts), most), False)
    short = pc.if_else(too_long, pa.scalar(None, pa.large_binary()), texts)
    for place, (value, refused) in enumerate(zip(short.to_pylist(), too_long.to_pylist(), strict=True)):
        if refused:
            yield "too_long"
            continue
        try:
            decoded = None if value is None else value.decode()
        except UnicodeDecodeError:
            yield "encoding"
        else:
            yield {text: decoded} | {name: column[place] for name, column in others.items()}


def _size(group: pq.RowGroupMetaData, text: str) -> int:
    chunks = [group.column(number) for number in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == text)
