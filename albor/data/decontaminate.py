"""Which documents hold a part of a benchmark.

A part is a whole item (prompt, docstring, solution, ...) of at least ITEM words, or RUN consecutive words of one. Words
are compared without case, white space and punctuation: a copy that was indented or wrapped anew is found as well.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.data.benchmarks import fingerprint, load_items
from albor.data.errors import DataError
from albor.data.words import Hashes, numbers, rolling, spans, word_hashes

__all__ = ["ITEM", "RUN", "Index", "fingerprint", "load_items"]

ITEM = 10
"""Shorter items prove nothing: they are found everywhere."""
RUN = 30
"""10 common words occur in 4 % of the standard library's files, 20 in 0.6 %, 30 in none."""
WORDY = 3
"""One word in so many must not be a number: tables of zeros and counts to thirty are found everywhere too."""
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
        texts = dict.fromkeys(load_items(directory))
        names = sorted({name for name, _ in texts})
        read = [_Item(names.index(name), word_hashes(text, fold=True), ~numbers(text)) for name, text in texts]
        read.sort(key=lambda item: item.name)
        items = [item for item in read if len(item.words) >= ITEM and item.wordy.sum() * WORDY >= len(item.words)]
        if not items:
            raise DataError(f"no benchmark under {directory} has an item of {ITEM} words", help="put its files there")
        return cls(_Tables(names=np.array(names), **_item_tables(items), **_run_tables(read)))

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
    name: int
    words: Hashes
    wordy: NDArray[np.bool_]
    """Which of the words are no numbers."""


def _item_tables(items: list[_Item]) -> dict[str, NDArray[Any]]:
    """Every item is looked for by the rarest of its runs of ITEM words, so that few are compared in vain."""
    windows = [rolling(item.words, ITEM) for item in items]
    _, inverse, counts = np.unique(np.concatenate(windows), return_inverse=True, return_counts=True)
    ends = np.cumsum([len(window) for window in windows])
    places = np.array([part.argmin() for part in np.split(counts[inverse], ends[:-1])])
    anchors = np.array([window[place] for window, place in zip(windows, places, strict=True)])
    order = np.argsort(anchors, kind="stable")
    lengths = np.array([len(item.words) for item in items])
    whole = [rolling(item.words, len(item.words))[0] for item in items]
    return {
        "anchors": anchors[order],
        "anchor_places": places[order],
        "item_lengths": lengths[order],
        "item_hashes": np.array(whole)[order],
        "item_names": np.array([item.name for item in items])[order],
    }


def _run_tables(items: list[_Item]) -> dict[str, NDArray[Any]]:
    """Items are in the order of their names, so that a run of several has the first name."""
    windows = [_wordy_runs(item) for item in items]
    names = np.repeat([item.name for item in items], [len(window) for window in windows])
    runs, first = np.unique(np.concatenate(windows), return_index=True)
    return {"runs": runs, "run_names": names[first]}


def _wordy_runs(item: _Item) -> Hashes:
    sums = np.cumsum(np.concatenate(([0], item.wordy)))
    wordy: NDArray[np.bool_] = (sums[RUN:] - sums[:-RUN]) * WORDY >= RUN
    return rolling(item.words, RUN)[wordy]
