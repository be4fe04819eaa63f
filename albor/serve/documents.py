"""What an editor has open: texts that change as they are typed, and places in the units that it counts in."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

END = re.compile(r"\r\n|\n|\r")
"""The protocol's line ends. Python's ``splitlines`` has more: a form feed, which is in many Python files, is none."""
CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
"""Of a position encoding: the codec, and the bytes of one unit in it."""

Place = tuple[int, int]
"""A line, and units of the encoding before the place in that line; both from 0."""


@dataclass(frozen=True)
class Document:
    """A text at one moment; an edit makes another."""

    text: str
    encoding: str = "utf-16"
    """One of CODECS: what the units of a place are."""
    language: str = "python"

    def offset(self, place: Place) -> int:
        """Characters before a place. Beyond the end of a line is its end; within a character is before it."""
        number, units = place
        starts = self._starts()
        if number >= len(starts):
            return len(self.text)
        start = starts[number]
        end = END.search(self.text, start)
        line = self.text[start : end.start() if end else len(self.text)]
        codec, width = CODECS[self.encoding]
        return start + len(line.encode(codec)[: max(units, 0) * width].decode(codec, "ignore"))

    def place(self, offset: int) -> Place:
        """The place with so many characters before it."""
        starts = self._starts()
        number = bisect_right(starts, offset) - 1
        codec, width = CODECS[self.encoding]
        return number, len(self.text[starts[number] : offset].encode(codec)) // width

    def changed(self, start: Place, end: Place, text: str) -> Document:
        """With what lies between two places replaced."""
        first, last = self.offset(start), self.offset(end)
        return replace(self, text=self.text[:first] + whole(text) + self.text[last:])

    def _starts(self) -> list[int]:
        """Where each line starts."""
        return [0, *(end.end() for end in END.finditer(self.text))]


def whole(text: str) -> str:
    """Without the halves of characters that JSON can hold and nothing else takes."""
    return text.encode("utf-8", "replace").decode()


class Documents:
    """The open documents by address, the most recently edited last."""

    def __init__(self, *, encoding: str, root: str | None = None) -> None:
        """``root`` is the address of the directory that the editor works in."""
        self._encoding = encoding
        self._root = PurePosixPath(path_of(root)) if root else None
        self._open: dict[str, Document] = {}

    def open(self, uri: str, text: str, language: str) -> None:
        self._open[uri] = Document(whole(text), self._encoding, language)

    def edit(self, uri: str, start: Place, end: Place, text: str) -> None:
        """Does nothing to a document that is not open."""
        if before := self._open.pop(uri, None):
            self._open[uri] = before.changed(start, end, text)

    def rewrite(self, uri: str, text: str) -> None:
        """Does nothing to a document that is not open."""
        if before := self._open.pop(uri, None):
            self._open[uri] = replace(before, text=whole(text))

    def close(self, uri: str) -> None:
        self._open.pop(uri, None)

    def get(self, uri: str) -> Document | None:
        return self._open.get(uri)

    def others(self, uri: str, language: str = "python") -> Iterator[tuple[str, str]]:
        """Name and text of the others in a language, the most recently edited first."""
        for other, document in reversed(self._open.items()):
            if other != uri and document.language == language:
                yield self.name(other), document.text

    def name(self, uri: str) -> str:
        """The path of a document below the root, or its file name."""
        path = PurePosixPath(path_of(uri))
        if self._root is not None and path.is_relative_to(self._root):
            return str(path.relative_to(self._root))
        return path.name


def path_of(uri: str) -> str:
    return unquote(urlsplit(uri).path)
