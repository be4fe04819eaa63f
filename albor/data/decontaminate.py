"""Which documents hold a part of a benchmark.

A part is a whole item (prompt, docstring, solution, ...) of at least ITEM words, or RUN consecutive words of one. Words
are compared without case, white space and punctuation: a copy that was indented or wrapped anew is found as well.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from albor.data.benchmarks import load_items
from albor.data.errors import DataError
from albor.data.words import Hashes, numbers, rolling, spans, word_hashes

ITEM = 10
"""Shorter items prove nothing: they are found everywhere."""
RUN = 30
"""10 common words occur in 4 % of the standard library's files, 20 in 0.6 %, 30 in none."""
WORDS_PER_RUN = RUN // 3
"""So many words of a run must not be numbers, and one of an item: tables of zeros are everywhere."""
_CELL_BITS = 24


class _Cells:
    """A set of hashes that is quick to say no: a bit for every value of their upper 24, 2 MiB in all."""

    def __init__(self, hashes: Hashes) -> None:
        cells = np.zeros(1 << _CELL_BITS, dtype=np.bool_)
        cells[hashes >> np.uint64(64 - _CELL_BITS)] = True
        self._bits = np.packbits(cells, bitorder="little")

    def may_hold(self, hashes: Hashes) -> NDArray[np.intp]:
        """The places of those ``hashes`` that are in the set, and of a few others."""
        cells = hashes >> np.uint64(64 - _CELL_BITS)
        bits = self._bits[cells >> np.uint64(3)] >> (cells & np.uint64(7)).astype(np.uint8)
        return np.flatnonzero(bits & np.uint8(1))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Tables:
    """The index as it is kept in a file."""

    names: NDArray[np.str_]
    anchors: Hashes
    """For every item a run of ITEM words in it; sorted, with repetitions."""
    anchor_places: NDArray[np.int64]
    """Where in the item that run begins."""
    item_lengths: NDArray[np.int64]
    item_hashes: Hashes
    item_names: NDArray[np.int64]
    runs: Hashes
    """All runs of RUN words; sorted, each once."""
    run_names: NDArray[np.int64]


class Index:
    """What there is to find, made once and then asked for every document."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables
        self._anchors = _Cells(tables.anchors)
        self._runs = _Cells(tables.runs)

    @classmethod
    def build(cls, directory: Path) -> Index:
        """Raises DataError where ``load_items`` does, and when no item is long enough."""
        items = _hashed(directory)
        if not items:
            raise DataError(f"no benchmark under {directory} has an item of {ITEM} words", help="put its files there")
        return cls(_tables(items))

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self._tables, field.name) for field in fields(_Tables)})

    @classmethod
    def load(cls, path: Path) -> Index:
        """Raises DataError when ``path`` is not the file of an index."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(_Tables(**{field.name: file[field.name] for field in fields(_Tables)}))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no index of benchmarks: {error}", help="remove it; it is made again") from error

    def find(self, text: str) -> str | None:
        """The benchmark that ``text`` holds a part of, or None; of several the first by name."""
        words = word_hashes(text, fold=True)
        found = np.concatenate((self._find_items(words), self._find_runs(words)))
        return str(self._tables.names[found.min()]) if len(found) else None

    def _find_items(self, words: Hashes) -> NDArray[np.int64]:
        tables = self._tables
        hashes = rolling(words, ITEM)
        places = self._anchors.may_hold(hashes)
        first = np.searchsorted(tables.anchors, hashes[places], side="left")
        counts = np.searchsorted(tables.anchors, hashes[places], side="right") - first
        if not counts.any():
            return np.empty(0, dtype=np.int64)
        # One row for every place of an anchor and every item that has it.
        before = np.cumsum(counts) - counts
        items = np.arange(counts.sum()) + np.repeat(first - before, counts)
        starts = np.repeat(places, counts) - tables.anchor_places[items]
        ends = starts + tables.item_lengths[items]
        inside = (starts >= 0) & (ends <= len(words))
        items, starts, ends = items[inside], starts[inside], ends[inside]
        same = spans(words, starts, ends) == tables.item_hashes[items]
        names: NDArray[np.int64] = tables.item_names[items[same]]
        return names

    def _find_runs(self, words: Hashes) -> NDArray[np.int64]:
        runs = self._tables.runs
        hashes = rolling(words, RUN)
        hashes = hashes[self._runs.may_hold(hashes)]
        places = np.searchsorted(runs, hashes)
        known = places < len(runs)
        places, hashes = places[known], hashes[known]
        names: NDArray[np.int64] = self._tables.run_names[places[runs[places] == hashes]]
        return names


@dataclass(frozen=True, eq=False, slots=True)
class _Item:
    benchmark: str
    words: Hashes
    wordy: NDArray[np.bool_]
    """Which of the words are no numbers."""


def _hashed(directory: Path) -> list[_Item]:
    """The items that are long enough, in the order of their benchmarks."""
    # Short texts are most of them, and a text of ITEM words has as many characters and one between any two.
    texts = sorted({(name, text) for name, text in load_items(directory) if len(text) >= 2 * ITEM - 1})
    items = [_Item(name, word_hashes(text, fold=True), ~numbers(text)) for name, text in texts]
    return [item for item in items if len(item.words) >= ITEM and item.wordy.any()]


def _tables(items: list[_Item]) -> _Tables:
    """All items at once, as one sequence of words."""
    words = np.concatenate([item.words for item in items])
    lengths = np.array([len(item.words) for item in items])
    ends = np.cumsum(lengths)
    left = np.repeat(ends, lengths) - np.arange(len(words))  # words to its item's end, itself included
    names, of = np.unique([item.benchmark for item in items], return_inverse=True)

    anchors, places = _anchors(words, left, ends - lengths)
    order = np.argsort(anchors, kind="stable")
    wordy = np.cumsum(np.concatenate([[0], *(item.wordy for item in items)]))
    runs = rolling(words, RUN)
    places_of_runs = np.flatnonzero((left[: len(runs)] >= RUN) & (wordy[RUN:] - wordy[:-RUN] >= WORDS_PER_RUN))
    # Of equal runs the first is kept, whose benchmark is the first.
    runs, first = np.unique(runs[places_of_runs], return_index=True)
    return _Tables(
        names=names,
        anchors=anchors[order],
        anchor_places=places[order],
        item_lengths=lengths[order],
        item_hashes=spans(words, ends - lengths, ends)[order],
        item_names=of[order],
        runs=runs,
        run_names=np.repeat(of, lengths)[places_of_runs[first]],
    )


def _anchors(words: Hashes, left: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """The rarest run of ITEM words in every item, so that few items are compared in vain; and its place there."""
    windows = rolling(words, ITEM)
    inside = left[: len(windows)] >= ITEM
    _, inverse, counts = np.unique(windows[inside], return_inverse=True, return_counts=True)
    rarity = np.zeros(len(windows), dtype=np.int64)
    rarity[inside] = counts[inverse]
    stops = starts + left[starts] - ITEM + 1
    places = np.array([rarity[s:e].argmin() for s, e in zip(starts.tolist(), stops.tolist(), strict=True)])
    return windows[starts + places], places
