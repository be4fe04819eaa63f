"""What the pages of a package index say: HTML (PEP 503), JSON (PEP 691), or a directory of files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from albor.data.errors import DataError


def normalised(name: str) -> str:
    """The one spelling of a project's name that stands for all (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Pin:
    """One source archive and no other."""

    name: str
    """Normalised."""
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Link:
    """A file that an index offers."""

    url: str
    sha256: str | None
    """What the index says; None where it says nothing."""

    @property
    def filename(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])

    def may_be(self, pin: Pin) -> bool:
        """Whether the name is that of the pinned project's source archive."""
        stem = re.sub(r"\.(tar\.gz|tgz|zip)$", "", self.filename)
        name, _, version = stem.rpartition("-")
        return stem != self.filename and (normalised(name), version) == (pin.name, pin.version)


def local_links(path: Path) -> Iterator[Link]:
    """What a local page or directory offers: its index.html, or else its files."""
    page = path / "index.html" if path.is_dir() else path
    if page.is_file():
        yield from html_links(page.read_text(encoding="utf-8"), page.absolute().as_uri())
    elif path.is_dir():
        yield from (Link(file.absolute().as_uri(), None) for file in sorted(path.iterdir()))


def json_links(text: str, base: str) -> Iterator[Link]:
    for file in json.loads(text)["files"]:
        yield Link(urljoin(base, file["url"]), file["hashes"].get("sha256"))


def html_links(text: str, base: str) -> Iterator[Link]:
    page = _Anchors()
    page.feed(text)
    for target in page.targets:
        url, fragment = urldefrag(urljoin(urljoin(base, page.base), target))
        kind, _, value = fragment.partition("=")
        yield Link(url, value if kind == "sha256" else None)


class _Anchors(HTMLParser):
    """Where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if target and tag == "base":
            self.base = self.base or target
        elif target and tag == "a":
            self.targets.append(target)


def differs(pin: Pin, found: str, advice: str) -> DataError:
    return DataError(f"{pin}: the archive's SHA-256 is {found}, not the pinned {pin.sha256}", help=advice)
