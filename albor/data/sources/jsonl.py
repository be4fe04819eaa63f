"""JSON lines: an object per line, plain or compressed, in memory a line at a time."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import IO, Any, cast

CHUNK = 1 << 20
ESCAPED = 12
"""Bytes of JSON per character at most: a surrogate pair, each half as \\uXXXX."""
OTHERS = 1 << 20
"""Bytes of a line that its other columns may take."""


def rows(
    file: IO[bytes], compression: str | None, start: int, end: int | None, max_characters: int
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The offset in bytes (unpacked) of each line that starts in [start, end), with its object.

    In place of the object stands the reason where there is none: "too_long" for a line that no text of
    ``max_characters`` fills, "encoding", or "json". Empty lines are passed over. Only what is not compressed can be
    read from a ``start``.
    """
    with _unpacked(file, compression) as stream:
        for offset, line in _lines(stream, start, end, ESCAPED * max_characters + OTHERS):
            if line is None:
                yield offset, "too_long"
            elif line.strip():
                yield offset, _parsed(line)


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "encoding"
    except (ValueError, RecursionError):
        return "json"
    return row if isinstance(row, dict) else "json"


def _lines(stream: IO[bytes], start: int, end: int | None, most: int) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their offsets; None for one longer than ``most`` bytes, of which no more than a chunk is held."""
    offset = start
    if start:
        # The line in which the range begins belongs to the range before, unless it begins there as well.
        stream.seek(start - 1)
        offset += _skip(stream) - 1
    while end is None or offset < end:
        line = stream.readline(most + 1)
        if not line:
            return
        length = len(line)
        if length > most and not line.endswith(b"\n"):
            length += _skip(stream)
            yield offset, None
        else:
            yield offset, line
        offset += length


def _skip(stream: IO[bytes]) -> int:
    """Go to the end of the line; how many bytes that took."""
    skipped = 0
    while piece := stream.readline(CHUNK):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _unpacked(file: IO[bytes], compression: str | None) -> IO[bytes]:
    if compression == "gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if compression == "zst":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"), CHUNK)
    return io.BufferedReader(cast(io.RawIOBase, file), CHUNK)
