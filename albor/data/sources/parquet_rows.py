"""Parquet files of any columns, in memory a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from albor.data.sources.parquet_pages import largest_page
from albor.data.sources.rules import LONGEST

Row = dict[str, Any] | str
"""Values by column, or the reason why there are none."""

ROWS = 64
"""Rows decoded at a time."""
MAX_PAGE = 256 << 20
"""Bytes of a page that is still decoded, which takes up to four times as much memory. Writers aim at a megabyte."""
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
) -> Iterator[tuple[int, Row]]:
    """The number in the file of each row of the row groups [start, end), with the values of ``columns``.

    In place of the values stands the reason where the text cannot be had: "too_long" (it is not decoded), "encoding",
    or "huge_page": its row group has a page above MAX_PAGE, because of this row or of another, and is not decoded. A
    row that is a row group of its own is "too_long" then.
    """
    parquet = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
    metadata = parquet.metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    number = sum(sizes[:start])
    groups = range(start, len(sizes) if end is None else end)
    for refused, run in groupby(groups, lambda group: _has_huge_page(file, metadata.row_group(group), columns)):
        if refused:
            found: Iterator[Row] = chain.from_iterable(_refused(sizes[group]) for group in run)
        else:
            batches = parquet.iter_batches(ROWS, row_groups=list(run), columns=columns, use_threads=False)
            found = (values for batch in batches for values in _values(batch, text, LONGEST * max_characters))
        for values in found:
            yield number, values
            number += 1


def _has_huge_page(file: IO[bytes], group: pq.RowGroupMetaData, columns: list[str]) -> bool:
    """The headers of pages are read only where the footer leaves room for a huge one."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    large = (c for c in chunks if c.path_in_schema.split(".")[0] in columns and c.total_uncompressed_size > MAX_PAGE)
    return any(largest_page(file, chunk) > MAX_PAGE for chunk in large)


def _refused(rows: int) -> Iterator[Row]:
    return repeat("too_long" if rows == 1 else "huge_page", rows)


def _values(batch: pa.RecordBatch, text: str, most: int) -> Iterator[Row]:
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
