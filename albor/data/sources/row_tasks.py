"""How files of rows become tasks: one file may be several."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from albor.data.errors import DataError
from albor.data.sources import base, jsonl, parquet_rows
from albor.data.sources.base import Task
from albor.data.sources.grouping import group
from albor.data.sources.rows import Piece, Source, columns, compression, is_parquet, opening
from albor.data.sources.store import File, Store

SAMPLE = 100
"""Lines of a JSONL file that tell which columns it has."""
THREADS = 8
"""Footers that are read at a time: most of it is waiting, where the files are far away."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A piece and how much it is."""

    piece: Piece
    size: int
    """Bytes, of the text alone where that is known."""
    rows: int = 0
    """0 where they are not known."""


def tasks(store: Store, source: Source, name: str, limit: int | None, max_characters: int) -> list[Task]:
    """Parquet is cut between row groups, plain JSONL anywhere.

    A limit is met exactly by the row counts of Parquet; the lines of JSONL are counted only as they are read, so
    there one task reads all files in turn.

    Raises:
        DataError: see `Store.files`; or a file is damaged, of another kind, or lacks a column.
    """
    files = store.files()
    _check_lines(store, source, files, max_characters)
    digests = {file.name: file.digest for file in files}

    def task(items: tuple[str, ...], size: int, limit: int | None = None) -> Task:
        content = "\n".join(f"{item} {digests[Piece.of(item).file]}" for item in items)
        return Task(
            source=source,
            name=name,
            items=items,
            digest=hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest(),
            size=size,
            max_characters=max_characters,
            limit=limit,
        )

    if limit is not None and not all(is_parquet(file.name) for file in files):
        return [task(tuple(str(Piece(file.name)) for file in files), sum(file.size for file in files), limit)]
    planned = list(_enough(limit, _pieces(store, source, files, at_once=limit is None)))
    made = [task(items, size) for items, size in group((str(each.piece), each.size) for each in planned)]
    if limit is not None and (excess := sum(each.rows for each in planned) - limit) > 0:
        last = sum(each.rows for each in planned if str(each.piece) in made[-1].items)
        made[-1] = replace(made[-1], limit=last - excess)
    return made


def _enough(limit: int | None, pieces: Iterable[Planned]) -> Iterator[Planned]:
    """The first pieces that have ``limit`` rows together."""
    left = limit
    for each in pieces:
        if left is not None and left <= 0:
            return
        yield each
        left = None if left is None else left - each.rows


def _pieces(store: Store, source: Source, files: list[File], *, at_once: bool) -> Iterator[Planned]:
    """What can be read alone, in order. Every Parquet file is looked into."""
    cut = partial(_cut, store, source)
    if at_once:
        with ThreadPoolExecutor(THREADS) as pool:
            yield from chain.from_iterable(pool.map(cut, files))
    else:
        yield from chain.from_iterable(map(cut, files))


def _cut(store: Store, source: Source, file: File) -> list[Planned]:
    if is_parquet(file.name):
        footer = _footer(store, source, file)
        groups = group((str(number), size) for number, size in enumerate(footer.bytes))
        return [
            Planned(
                Piece(file.name, int(numbers[0]), int(numbers[-1]) + 1),
                size,
                sum(footer.rows[int(numbers[0]) : int(numbers[-1]) + 1]),
            )
            for numbers, size in groups
        ]
    if compression(file.name):
        return [Planned(Piece(file.name), file.size)]
    starts = range(0, file.size, base.TASK_BYTES)
    ends = [min(start + base.TASK_BYTES, file.size) for start in starts]
    return [Planned(Piece(file.name, start, end), end - start) for start, end in zip(starts, ends, strict=True)]


def _footer(store: Store, source: Source, file: File) -> parquet_rows.Footer:
    with opening(store, file.name) as opened:
        footer = parquet_rows.footer(opened, source.text)
    _there(source, file.name, footer.columns)
    if not parquet_rows.is_text(kind := footer.columns[source.text]):
        raise DataError(
            f"{file.name}: column {source.text} is {kind}, not text",
            help="name the column of the text in data.source.text",
        )
    return footer


def _check_lines(store: Store, source: Source, files: list[File], max_characters: int) -> None:
    """Refuse JSONL whose first lines, in the first such file, lack a column: every line would be rejected."""
    file = next((file for file in files if not is_parquet(file.name)), None)
    if file is None:
        return
    with opening(store, file.name) as opened:
        lines = list(islice(jsonl.rows(opened, compression(file.name), 0, None, max_characters), SAMPLE))
    objects = [row for _, row in lines if isinstance(row, dict)]
    if lines and not objects:
        raise DataError(
            f"{file.name} is not JSON lines: none of the first {len(lines)} is an object",
            help="data.source.paths takes files with one JSON object per line, and Parquet",
        )
    if objects:
        _there(source, file.name, dict.fromkeys(key for row in objects for key in row))


def _there(source: Source, name: str, found: Iterable[str]) -> None:
    have = list(found)
    if missing := [column for column in columns(source) if column not in have]:
        raise DataError(
            f"{name} has no column {', '.join(missing)}; it has {', '.join(have) or 'none'}",
            help="set data.source.text, licence_column, package_column and path_column to columns it has",
        )
