"""Documents, bytes and tokens by where they come from, in bounded memory."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from albor.data.card import SourceRow
from albor.runs.files import write_text

SUMMED = "(all)"
"""Stands for the packages of a source that has too many to list: of a dataset whose rows name none, say."""
LISTED_PACKAGES = 2_000

Key = tuple[str, str, str, str, str]
"""Source, package, version, licence, split."""


class Tally:
    """Counts by key; the packages of a source with more than LISTED_PACKAGES are summed."""

    def __init__(self, rows: Iterable[SourceRow] = ()) -> None:
        self._counts: dict[Key, Counter[str]] = defaultdict(Counter)
        self._packages: dict[str, set[str]] = defaultdict(set)
        self._summed: set[str] = set()
        for row in rows:
            self.add_row(row)

    def add(self, key: Key, *, documents: int = 0, bytes: int = 0, tokens: int = 0) -> None:  # noqa: A002
        source, package, *_ = key
        if source not in self._summed:
            self._packages[source].add(package)
            if package == SUMMED or len(self._packages[source]) > LISTED_PACKAGES:
                self._sum(source)
        self._counts[self._key(key)].update(documents=documents, bytes=bytes, tokens=tokens)

    def add_row(self, row: SourceRow) -> None:
        key = (row.source, row.package, row.version, row.licence, row.split)
        self.add(key, documents=row.documents, bytes=row.bytes, tokens=row.tokens)

    def rows(self) -> list[SourceRow]:
        """Sorted by key."""
        return [
            SourceRow(source=s, package=p, version=v, licence=li, split=sp, **counts)
            for (s, p, v, li, sp), counts in sorted(self._counts.items())
        ]

    def save(self, path: Path) -> None:
        write_text(path, json.dumps([asdict(row) for row in self.rows()], indent=1))

    def load(self, path: Path) -> None:
        """Add what ``save`` wrote."""
        for row in json.loads(path.read_text(encoding="utf-8")):
            self.add_row(SourceRow.from_json(row))

    def _key(self, key: Key) -> Key:
        source, _, _, licence, split = key
        return (source, SUMMED, "", licence, split) if source in self._summed else key

    def _sum(self, source: str) -> None:
        self._summed.add(source)
        del self._packages[source]
        for key in [key for key in self._counts if key[0] == source]:
            self._counts[self._key(key)].update(self._counts.pop(key))
