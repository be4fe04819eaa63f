"""Where documents come from: one schema per kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen

from albor.config.types import Positive, PositiveFloat, Recorded, Text


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The running interpreter's own standard library: real code that is always there."""

    kind: Literal["stdlib"] = "stdlib"
    """The source's kind."""


@dataclass(frozen=True, kw_only=True)
class LocalSource:
    """Directories of files on this machine.

    A root with .git, pyproject.toml or setup.py is one package, called as the root is; below any other root each
    directory, and each file that lies in none, is one. A name that packages of two roots would share is prefixed with
    the root's: ROOT/NAME.
    """

    kind: Literal["local"] = "local"
    """The source's kind."""
    roots: tuple[Text, ...]
    """Directories to read: relative to the working directory, absolute, or below ~ (quoted)."""
    licence: Text
    """SPDX identifier of the licence of everything under the roots."""
    suffixes: Annotated[tuple[Text, ...], MinLen(1)] = (".py",)
    """Ends of the names of the files to read."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One pinned source archive."""

    version: Text
    """Version on the package index."""
    sha256: Text
    """SHA-256 of the source archive (.tar.gz or .zip), in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class PypiSource:
    """Source archives of pinned packages from the Python package index; the licence comes from their metadata."""

    kind: Literal["pypi"] = "pypi"
    """The source's kind."""
    packages: dict[str, Archive]
    """Package name to its archive."""
    cache: Annotated[Text, Recorded()] = "~/.cache/albor/pypi"
    """Directory where downloaded archives are kept; they are verified each time they are read."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a dataset are called."""

    text: Text = "text"
    """Column of the document's text."""
    licence: Text | None = None
    """SPDX identifier of every document; null reads it from licence_column."""
    licence_column: Text | None = None
    """Column of the document's licence: an SPDX identifier, a common name of one, or a list of them."""
    package_column: Text | None = None
    """Column of what the document belongs to (its repository); null makes each document a package of its own."""
    path_column: Text | None = None
    """Column of the document's path; null takes the row's place in the file."""


@dataclass(frozen=True, kw_only=True)
class FilesSource(Columns):
    """JSONL (plain, .gz or .zst) and Parquet files on this machine, a document per row."""

    kind: Literal["files"] = "files"
    """The source's kind."""
    paths: Annotated[tuple[Text, ...], MinLen(1)]
    """Files, or patterns with * and **: *.parquet, *.jsonl, *.jsonl.gz, *.json.gz, *.jsonl.zst."""


@dataclass(frozen=True, kw_only=True)
class HubSource(Columns):
    """A dataset on the Hugging Face Hub, streamed: nothing but what is read is downloaded."""

    kind: Literal["hub"] = "hub"
    """The source's kind."""
    repository: Text
    """Dataset repository, org/name."""
    revision: Text = "main"
    """Commit, tag or branch; a commit pins the content."""
    paths: Annotated[tuple[Text, ...], MinLen(1)] = ("**/*.parquet",)
    """Files in the repository, or patterns with * and **; as in a files source."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One source of a mix."""

    source: StdlibSource | LocalSource | PypiSource | FilesSource | HubSource
    """Where the part's documents come from."""
    copies: Positive = 1
    """How often each training document of the part is repeated, each time with its own fill-in-the-middle cuts."""
    weight: PositiveFloat | None = None
    """Wanted share of the training text, relative to the other parts' weights; the part that is too large is thinned
    out. Null takes everything, and then no part may have a weight."""


@dataclass(frozen=True, kw_only=True)
class MixSource:
    """Several sources together. Of two similar documents the one of the part named first is kept."""

    kind: Literal["mix"] = "mix"
    """The source's kind."""
    parts: dict[str, Part]
    """Name of the part, as the data card shows it, to its source."""


Leaf = StdlibSource | LocalSource | PypiSource | FilesSource | HubSource
"""A source that is no mix."""
Source = Leaf | MixSource
