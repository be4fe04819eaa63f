"""metrics.jsonl as it grows: each line is read once, however long the run is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from albor.runs.metrics import NAME

BLOCK = 1 << 20


class Tail:
    """The lines that a run, here or on a shared file system, has written since the last look."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._torn = b""

    def poll(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        """Whether the file is another than before (a run started anew), and the new lines.

        A line that is still being written comes with a later call. A line that a killed process left torn is skipped.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            anew, self._file = self._file is not None, None
            return anew, iter(())
        file = (status.st_dev, status.st_ino)
        anew = self._file is not None and (file != self._file or status.st_size < self._offset)
        if self._file is None or anew:
            self._file, self._offset, self._torn = file, 0, b""
        return anew, self._lines()

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while block := file.read(BLOCK):
                self._offset += len(block)
                *whole, self._torn = (self._torn + block).split(b"\n")
                yield from (row for line in whole if (row := parsed(line)) is not None)


def parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
