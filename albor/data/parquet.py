"""Opening and writing Parquet files of a known schema; everything else is refused in one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from albor.data.errors import DataError
from albor.runs.files import atomic_path

SPLITS = ("train", "val")
PAGE_BYTES = 1 << 30
"""More than any row group has."""


def shard(directory: Path, split: str, number: int) -> Path:
    """A file of a split, of documents or of rows."""
    return directory / f"{split}-{number:05d}.parquet"


def shards(directory: Path, split: str) -> list[Path]:
    """The files of a split, in order; none when there is nothing in it."""
    return sorted(directory.glob(f"{split}-*.parquet"))


def link_shards(files: Iterable[Path], directory: Path, split: str) -> list[Path]:
    """The files under the names of a split's shards, numbered through. They stay where they are as well."""
    targets = []
    for number, file in enumerate(files):
        target = shard(directory, split, number)
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:  # file systems without hard links have room for two
            shutil.copyfile(file, target)
        targets.append(target)
    return targets


def open_file(path: Path, *, columns: dict[str, pa.DataType | None]) -> pq.ParquetFile:
    """A memory-mapped Parquet file that has exactly ``columns`` (type None: any).

    Raises:
        DataError: the file is missing, is not whole Parquet, or holds something else.
    """
    with refusing(path):
        file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    found = {field.name: field.type for field in file.schema_arrow}
    wrong = found.keys() ^ columns.keys()
    wrong |= {name for name, kind in columns.items() if kind is not None and found.get(name) != kind}
    if wrong:
        raise DataError(
            f"{path} is not a file that albor wrote here: column {', '.join(sorted(wrong))} does not fit",
            help="point to the output of albor's own data stages, or build it again",
        )
    return file


def write_file(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, compression: str) -> None:
    """One row group per table, written beside ``path`` and renamed when whole.

    A column of a row group is one page, so that values of a fixed size can be addressed. Neither statistics nor
    dictionaries: they cost time on long values and nothing here asks for them.
    """
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=compression,
            use_dictionary=False,
            write_statistics=False,
            data_page_size=PAGE_BYTES,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a missing, truncated or damaged file into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", help="build the stage that writes it first") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as Parquet: {reason}",
            help="delete it and build it again; it was cut off or damaged",
        ) from error
