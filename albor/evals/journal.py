"""Records appended one by one to a JSONL file that may end in the middle of a line: what a killed process had done."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from albor.runs.files import write_text

Record = dict[str, Any]
Key = tuple[Hashable, ...]


class Journal:
    """An open journal. Records already in it are kept; a torn last line is removed."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        """``key`` names the fields that tell records apart."""
        self._path, self._key = path, key
        path.parent.mkdir(parents=True, exist_ok=True)
        self.records: dict[Key, Record] = {}
        whole = 0
        if path.exists():
            for line, end in _lines(path.read_bytes()):
                record = json.loads(line)
                self.records[self._of(record)] = record
                whole = end
            with path.open("r+b") as file:
                file.truncate(whole)
        self._file = path.open("ab")

    def add(self, record: Record) -> None:
        """Appends a record; it is with the kernel when this returns."""
        self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self._file.flush()
        self.records[self._of(record)] = record

    def _of(self, record: Record) -> Key:
        return tuple(record[name] for name in self._key)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _lines(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole line, and where it ends."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end], end + 1
        start = end + 1


def read(path: Path) -> list[Record]:
    # Text may hold characters at which splitlines would end a line too, U+2028 for one.
    return [json.loads(line) for line, _ in _lines(path.read_bytes())]


def write(path: Path, records: list[Record]) -> None:
    """A whole file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records))
