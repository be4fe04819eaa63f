"""Whether a corpus's sources still hold what they held when it was prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from albor.config.schema.sources import (
    FilesSource,
    HubSource,
    Leaf,
    LocalSource,
    MixSource,
    PypiSource,
    Source,
    StdlibSource,
)
from albor.data.sources import fingerprint, pypi, python_files
from albor.runs.files import sha256_file

Kind = Literal["changed", "missing", "added", "note"]


@dataclass(frozen=True)
class Difference:
    """How a source is no longer as it was; a note is none, and says what could not be compared."""

    kind: Kind
    path: str
    text: str


def differences(
    source: Source, identity: Mapping[str, str], artifact: Path, *, read: int | None, quick: bool
) -> Iterator[Difference]:
    """What of ``source`` is another than when the documents in ``artifact`` were made of it.

    Args:
        identity: what the run recorded of the source besides its config; of a mix each key begins with the part's name.
        read: files that were read, where all of one source were; None where they were not counted alone.
        quick: by names, sizes and times; no file is read.
    """
    if isinstance(source, MixSource):
        for name, part in source.parts.items():
            known = {key.removeprefix(f"{name}."): v for key, v in identity.items() if key.startswith(f"{name}.")}
            yield from _of(part.source, name, known, artifact, None, quick=quick)
    else:
        yield from _of(source, source.kind, identity, artifact, read, quick=quick)


def _of(
    source: Leaf, name: str, identity: Mapping[str, str], artifact: Path, read: int | None, *, quick: bool
) -> Iterator[Difference]:
    if isinstance(source, HubSource):
        return  # a commit does not change, and nothing here asks the network
    if isinstance(source, PypiSource):
        yield from _archives(source, quick=quick)
        return
    now = fingerprint(source)
    if now.get("listing") == "missing":
        yield Difference("note", name, "the source is no longer there")
        return
    same = all(identity.get(key) == value for key, value in now.items())
    if isinstance(source, StdlibSource) and not same:
        was = f"{identity.get('implementation')} {identity.get('python')}"
        yield Difference("note", name, f"the source was the library of {was}, which this interpreter is not")
    elif isinstance(source, FilesSource):
        if not same:
            yield Difference("changed", name, "the names, sizes or times of its files are others than recorded")
    elif not quick:
        yield from _files(source, name, artifact, read)
    elif not same:
        yield Difference("note", name, "names, sizes or times of its files are others; their bytes were not compared")


def _archives(source: PypiSource, *, quick: bool) -> Iterator[Difference]:
    """Archives of the cache, against the pins."""
    absent = 0
    for pin, path in pypi.archives(source):
        if not path.is_file():
            absent += 1
        elif not quick and (found := sha256_file(path)) != pin.sha256:
            yield Difference("changed", str(path), f"{pin} has the SHA-256 {found}, not {pin.sha256}")
    if absent:
        yield Difference("note", source.cache, f"{absent:,} archives are not in the cache any more")


def _files(source: StdlibSource | LocalSource, name: str, artifact: Path, read: int | None) -> Iterator[Difference]:
    """Every document against the file that it was, by text; times do not matter."""
    import pyarrow.parquet as pq

    from albor.data.parquet import SPLITS, shards

    places = python_files.places(source)

    @cache
    def present(path: str) -> str | None:
        try:
            return hashlib.sha256(places[path].read_bytes().decode("utf-8-sig").encode()).hexdigest()
        except (KeyError, FileNotFoundError):
            return None
        except (UnicodeError, OSError):
            return ""

    for split in SPLITS:
        for shard in shards(artifact, split):
            table = pq.read_table(shard, columns=["source", "path", "sha256"])
            for row in table.to_pylist():
                if row["source"] != name or (found := present(row["path"])) == row["sha256"]:
                    continue
                if found is None:
                    yield Difference("missing", row["path"], "the file that this document was is gone")
                else:
                    yield Difference("changed", row["path"], "the file is no longer the text that was prepared")
    if read is not None and len(places) > read:
        yield Difference("added", name, f"the source has {len(places):,} files, {read:,} were read")
