"""The files that models are evaluated on: every string in them may be one to keep out of a corpus.

Read are JSON (one value or one per line), text and Python, plain or compressed, at any depth below a directory.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from albor.data.errors import DataError
from albor.data.sources.base import expand

_OPENERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_ABOUT = re.compile(r"(readme|licen[cs]e|notice|citation|changelog)(\.(txt|cff))?|.*\.(md|rst)", re.IGNORECASE)
"""Names of files about a benchmark, which are no part of it."""
_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
_SOLUTIONS = ("canonical_solution", "solution", "completion", "body", "reference_code", "code")
"""What a record may call the continuation of its "prompt"."""
_PARAGRAPH_LINES = 100
_INK = re.compile(r"\S")


def fingerprint(directory: str | None) -> dict[str, str]:
    """What tells one content of ``directory`` from another: a hash of the names and bytes of its benchmark files."""
    if directory is None:
        return {}
    root = expand(directory)
    if not root.is_dir():
        return {"benchmarks": "missing"}
    digest = hashlib.sha256()
    for name, sha256 in hashes(root).items():
        digest.update(f"{name}\0{sha256}\0".encode())
    return {"benchmarks": digest.hexdigest()}


def hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every benchmark file under ``directory``, by name."""
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in _names(directory)}


def names(directory: Path) -> list[str]:
    """What the benchmarks under ``directory`` are called."""
    return sorted({_benchmark(name) for name in _names(directory)})


def load_items(directory: Path) -> Iterator[tuple[str, str]]:
    """Benchmark and text of everything under ``directory`` that a training document should not hold, in a stable order.

    A benchmark is called by the first directory that its file lies in, or else by the file.

    Raises:
        DataError: the directory is not there or holds no benchmark; a file is damaged or of an unknown kind.
    """
    names = _names(directory) if directory.is_dir() else []
    if not names:
        raise DataError(
            f"no benchmark files under {directory}",
            help="put the benchmarks' files (JSON, JSONL, text) there, or check against none: evals.data_dir=null",
        )
    for name in names:
        for text in _texts(directory / name):
            yield _benchmark(name), text


def _benchmark(name: str) -> str:
    return name.partition("/")[0].partition(".")[0]


def _names(directory: Path) -> list[str]:
    """Paths of the benchmark files relative to ``directory``, with forward slashes, sorted; hidden ones are none."""
    # Path.rglob would pass over what lies behind a link to a directory.
    found = map(Path, glob.glob("**", root_dir=directory, recursive=True))  # noqa: PTH207
    return sorted(path.as_posix() for path in found if (directory / path).is_file() and not _ABOUT.fullmatch(path.name))


def _texts(path: Path) -> Iterator[str]:
    opener = _OPENERS.get(path.suffix)
    kind = _KINDS.get(Path(path.stem).suffix if opener else path.suffix)
    if kind is None:
        known = f"{', '.join(_KINDS)}, plain or with {', '.join(_OPENERS)}"
        raise DataError(
            f"{path} is no kind of benchmark file that can be read",
            help=f"turn it into JSON lines, or move it elsewhere; known are {known}",
        )
    try:
        data = path.read_bytes()
        yield from kind((opener(data) if opener else data).decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}", help="fetch the file again, or move it elsewhere") from error


def _json(text: str) -> Iterator[str]:
    """The texts of JSON values that follow each other, be it one in the file or one per line."""
    decoder = json.JSONDecoder()
    end = 0
    while start := _INK.search(text, end):
        value, end = decoder.raw_decode(text, start.start())
        yield from _values(value)


def _values(value: Any) -> Iterator[str]:
    """Every string in a JSON value; strings that are a list's only contents also as lines of one text."""
    match value:
        case str():
            yield from _code(value)
        case list():
            if (whole := _lines(value)) is not None:
                yield from _code(whole)
            for element in value:
                yield from _values(element)
        case dict():
            for element in value.values():
                yield from _values(element)
            yield from _continued(value)


def _continued(record: dict[str, Any]) -> Iterator[str]:
    """A record's prompt with its solution, which may be long enough together where neither is alone."""
    prompt = record.get("prompt")
    for key in _SOLUTIONS:
        solution = _lines(record.get(key))
        if isinstance(prompt, str) and solution is not None:
            yield prompt + "\n" + solution


def _lines(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(element, str) for element in value):
        return "\n".join(value)
    return None


def _code(text: str) -> Iterator[str]:
    """``text`` and the docstrings in it, each on its own."""
    yield text
    for match in _DOCSTRING.finditer(text):
        yield match[1] or match[2] or ""


def _plain(text: str) -> Iterator[str]:
    """The lines, and the paragraphs of several; what is longer than a paragraph is a list of lines."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if 1 < len(lines) <= _PARAGRAPH_LINES:
            yield paragraph
        yield from lines


_KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    ".json": _json,
    ".jsonl": _json,
    ".txt": _plain,
    ".lst": _plain,
    ".py": _code,
}
