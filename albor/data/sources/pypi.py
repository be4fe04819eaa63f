"""Source archives of pinned packages: downloaded once, verified each time, read without being unpacked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from albor.config.schema.sources import PypiSource
from albor.data import licences
from albor.data.errors import DataError
from albor.data.sources.archive import Member, members
from albor.data.sources.base import Kind, Progress, Rejected, Task, expand
from albor.data.sources.grouping import group
from albor.data.sources.index_pages import Pin, differs, normalised
from albor.data.sources.rules import LONGEST, is_python
from albor.runs.files import sha256_file

if TYPE_CHECKING:
    from albor.data.documents import Document

LICENCE_FILE = re.compile(r"(licen[cs]e|copying)[^/]*", re.IGNORECASE)
MAX_METADATA = 1 << 20
"""Bytes of a PKG-INFO or licence file; no real one is longer."""


def fingerprint(source: PypiSource) -> dict[str, str]:
    """The config says it all: its SHA-256 are the content."""
    return {}


def fetch(source: PypiSource, progress: Progress) -> None:
    """Download what the cache lacks from the indexes of pip's configuration; without network if it lacks nothing."""
    missing = [(pin, path) for pin in _pins(source).values() if not (path := _cached(source, pin)).exists()]
    if not missing:
        return
    # Here and not above: `fingerprint` serves the planner.
    from albor.data.sources.package_index import CONNECTIONS, PackageIndex
    from albor.data.sources.pip_config import pip_config

    expand(source.cache).mkdir(parents=True, exist_ok=True)
    index = PackageIndex(pip_config())
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            for done, download in enumerate(as_completed(pool.submit(index.download, *each) for each in missing)):
                download.result()
                progress(done + 1, len(missing), "archives")
        finally:
            pool.shutdown(cancel_futures=True)


def tasks(source: PypiSource, name: str, limit: int | None, max_characters: int) -> list[Task]:
    """Archives in the config's order; an item is a package's name. How many documents an archive holds is known only
    when it is read, so with a limit one task reads them all in turn."""
    pins = _pins(source)
    if not pins:
        raise DataError("data.source.packages is empty", help="name a package, its version and its archive's SHA-256")
    sizes = [(pin.name, _there(source, pin).stat().st_size) for pin in pins.values()]
    whole = [(tuple(pins), sum(size for _, size in sizes))]
    return [
        Task(
            source=replace(source, cache=str(expand(source.cache))),
            name=name,
            items=items,
            digest=hashlib.sha256(
                "\n".join(f"{pins[item]} {pins[item].sha256}" for item in items).encode()
            ).hexdigest(),
            size=size,
            max_characters=max_characters,
            limit=limit,
        )
        for items, size in (group(sizes) if limit is None else whole)
    ]


def archives(source: PypiSource) -> Iterator[tuple[Pin, Path]]:
    """Each pinned archive and where the cache has it, or would."""
    for pin in _pins(source).values():
        yield pin, _cached(source, pin)


def read(task: Task) -> Iterator[Document | Rejected]:
    """The Python files of the task's archives, in the archives' order.

    Rejected: "unsafe_path" for a name that is absolute or leads out, "link", "device", "too_long", "encoding".
    """
    source = task.source
    assert isinstance(source, PypiSource)
    pins = _pins(source)
    found = (item for name in task.items for item in _documents(task, source, pins[name]))
    return islice(found, task.limit)


KIND = Kind(fingerprint=fingerprint, fetch=fetch, tasks=tasks, read=read)


def _documents(task: Task, source: PypiSource, pin: Pin) -> Iterator[Document | Rejected]:
    from albor.data.documents import Document

    archive = _verified(source, pin)
    licence = _licence(archive)
    for member in members(archive):
        path = _below_project(member.path)
        if reason := _reason(member, task.max_characters):
            yield Rejected(_legible(pin, path), reason)
        elif is_python(path):
            try:
                path.encode()
                text = member.read().decode("utf-8-sig")
            except UnicodeError:
                yield Rejected(_legible(pin, path), "encoding")
            else:
                yield Document(text, task.name, pin.name, pin.version, path, licence, task.tier, task.copies)


def _reason(member: Member, max_characters: int) -> str | None:
    if member.path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.path):
        return "unsafe_path"
    if member.kind != "file":
        return member.kind
    if is_python(_below_project(member.path)) and member.size > LONGEST * max_characters:
        return "too_long"
    return None


def _licence(archive: Path) -> str:
    """From the metadata, which may be the last member, and the licence files beside it."""
    metadata, texts = "", {}
    for member in members(archive):
        name = _below_project(member.path)
        if member.kind == "file" and member.size <= MAX_METADATA:
            if name == "PKG-INFO":
                metadata = member.read().decode(errors="replace")
            elif LICENCE_FILE.fullmatch(name):
                texts[name] = member.read().decode(errors="replace")
    return licences.of_project(metadata, texts)


def _below_project(path: str) -> str:
    """A source archive holds one directory, NAME-VERSION."""
    first, slash, below = path.removeprefix("./").partition("/")
    return below if slash else first


def _legible(pin: Pin, path: str) -> str:
    return f"{pin.name}/{path}".encode(errors="replace").decode()


def _pins(source: PypiSource) -> dict[str, Pin]:
    """By normalised name, in the config's order; what becomes a file name is checked."""
    pins: dict[str, Pin] = {}
    for name, archive in source.packages.items():
        pin = Pin(normalised(name), archive.version, archive.sha256.lower())
        if not re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", pin.name) or pin.name in pins:
            raise DataError(
                f"data.source.packages: {name} is no name of a package, or is there twice",
                help="name each package once, as the index does",
            )
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.!+_-]*", pin.version):
            raise DataError(
                f"data.source.packages.{name}.version: {pin.version} is no version",
                help='write the version as the index does, in quotes: "1.10"',
            )
        if not re.fullmatch("[0-9a-f]{64}", pin.sha256):
            raise DataError(
                f"data.source.packages.{name}.sha256: {pin.sha256} is no SHA-256",
                help="copy the 64 hexadecimal digits from the index's page of the source archive",
            )
        pins[pin.name] = pin
    return pins


def _cached(source: PypiSource, pin: Pin) -> Path:
    return expand(source.cache) / f"{pin.name}-{pin.version}-{pin.sha256[:16]}"


def _there(source: PypiSource, pin: Pin) -> Path:
    path = _cached(source, pin)
    if not path.is_file():
        raise DataError(
            f"{pin} is not in {source.cache}",
            help="run the same command where the package index can be reached, or copy that directory from there",
        )
    return path


def _verified(source: PypiSource, pin: Pin) -> Path:
    path = _there(source, pin)
    if (found := sha256_file(path)) != pin.sha256:
        path.unlink(missing_ok=True)
        raise differs(pin, found, f"the damaged file was deleted from {source.cache}; run again to download it anew")
    return path
