"""Near duplicates: MinHash bands name the pairs worth comparing, exact Jaccard similarity decides.

Two documents of similarity J share a band with probability 1 - (1 - J^rows)^bands (Broder 1997; Leskovec, Rajaraman and
Ullman, Mining of Massive Datasets, 3.4). That is the only place where chance has a say: what is dropped is a duplicate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from albor.data.words import Hashes, mix, rolling, word_hashes

SEED = 0x5EED
NO_KEY = 0
"""Band key of a document without shingles; no other document has it."""
CACHE_BYTES = 256 << 20
"""Shingles that ``representatives`` keeps in memory."""
SKETCH_BITS = 1024

Integers = NDArray[np.int64]


def shingles(text: str, size: int) -> Hashes:
    """Hashes of the runs of ``size`` words in ``text``, sorted, each once; none in a text of fewer words."""
    hashes = rolling(word_hashes(text, fold=False), size)
    hashes.sort()
    return hashes[_starts(hashes)]


def band_keys(sets: Sequence[Hashes], *, bands: int, rows: int) -> Hashes:
    """One key per band of the MinHash signature of every set of shingles, shape [len(sets), bands].

    An empty set has NO_KEY in every band. The keys of a set depend on nothing but the set.
    """
    offsets = np.cumsum([0, *map(len, sets)], dtype=np.uint64)
    flat = np.concatenate([np.empty(0, dtype=np.uint64), *sets])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, bands * rows, SEED)
    digests = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(sets), bands, rows)
    keys = np.zeros((len(sets), bands), dtype=np.uint64)
    for row in range(rows):
        keys = mix(keys) + digests[:, :, row]
    keys = mix(keys)
    keys[keys == NO_KEY] = 1
    keys[np.diff(offsets) == 0] = NO_KEY
    return keys


def jaccard(a: Hashes, b: Hashes) -> float:
    """|a ∩ b| / |a ∪ b| of two sorted arrays without repetitions; 0 if both are empty."""
    both = np.concatenate((a, b))
    both.sort(kind="stable")  # merges the two runs
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / max(1, len(both) - shared)


def representatives(
    *,
    rank: Integers,
    band: Callable[[int], Hashes],
    bands: int,
    usable: NDArray[np.bool_],
    shingles: Callable[[int], Hashes],
    threshold: float,
) -> Integers:
    """For every one of n documents the one that stands for it: itself when it is kept.

    Documents are judged in the order of ``rank`` (a permutation of 0..n-1, the smallest is preferred): one is dropped
    when one that was kept shares a band key with it and their similarity is at least ``threshold``; the first such one
    stands for it. So the result depends on the documents and their ranks alone. ``band(b)`` gives the keys of band b,
    shape [n]; a document that is not ``usable`` (shape [n]) has no shingles and is always kept.
    """
    order = np.argsort(rank)
    order = order[usable[order]]
    groups = _Groups([_shared(band(index)[order]) for index in range(bands)], len(order))
    load = _Cached(lambda place: shingles(int(order[place])), CACHE_BYTES)
    kept = _Sketches(len(order))
    result = np.arange(len(rank))
    for place in groups.places.tolist():
        own = load(place)
        sketch = _sketch(own)
        candidates = groups.kept_beside(place)
        if len(candidates):
            candidates = candidates[kept.bounds(candidates, sketch, len(own)) >= threshold]
        match = next((c for c in candidates.tolist() if jaccard(own, load(c)) >= threshold), None)
        if match is None:
            groups.keep(place)
            kept.add(place, sketch, len(own))
        else:
            result[order[place]] = order[match]
    return result


class _Groups:
    """Which documents share a band key with which, and which of them are kept. Documents are places in the order."""

    def __init__(self, shared: list[tuple[Integers, Integers]], count: int) -> None:
        """``shared``: for every band the places that share their key, and how large each group of them is."""
        places = np.concatenate([members for members, _ in shared])
        sizes = np.concatenate([sizes for _, sizes in shared])
        self._kept = np.zeros(len(places), dtype=np.int64)
        """Group after group: the places that were kept, then room for those that still may be."""
        self._start = np.cumsum(sizes) - sizes
        self._fill = np.zeros(len(sizes), dtype=np.int64)
        self._of = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(places, kind="stable")]
        """Place after place: its groups, from ``_first[place]`` to ``_first[place + 1]``."""
        self._first = np.concatenate(([0], np.cumsum(np.bincount(places, minlength=count))))
        self.places = np.flatnonzero(np.diff(self._first))
        """The documents that share a key with another, in order."""

    def _groups(self, place: int) -> Integers:
        return self._of[self._first[place] : self._first[place + 1]]

    def kept_beside(self, place: int) -> Integers:
        """The kept documents that share a key with this one, in order."""
        groups = self._groups(place)
        groups = groups[self._fill[groups] > 0]
        if not len(groups):
            return groups
        starts = self._start[groups]
        ends = starts + self._fill[groups]
        return np.unique(np.concatenate([self._kept[s:e] for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]))

    def keep(self, place: int) -> None:
        groups = self._groups(place)
        self._kept[self._start[groups] + self._fill[groups]] = place
        self._fill[groups] += 1


def _shared(keys: Hashes) -> tuple[Integers, Integers]:
    """The places that share their key, group after group, in order inside a group; and the size of every group."""
    places = np.argsort(keys, kind="stable")
    keys = keys[places]
    first = np.flatnonzero(_starts(keys))
    sizes = np.diff(first, append=len(keys))
    return places[np.repeat(sizes > 1, sizes)], sizes[sizes > 1]


def _starts(ordered: Hashes) -> NDArray[np.bool_]:
    """Where a run of equal values begins."""
    starts = np.ones(len(ordered), dtype=np.bool_)
    starts[1:] = ordered[1:] != ordered[:-1]
    return starts


class _Sketches:
    """Upper bounds of similarities, so that most candidates that are no duplicates are never read.

    A sketch holds the parity of the number of elements in each of SKETCH_BITS cells (Mitzenmacher, Pagh and Pham 2014):
    two sketches differ in at most as many bits as there are elements in one set only.
    """

    def __init__(self, count: int) -> None:
        self._sketches = np.zeros((count, SKETCH_BITS // 64), dtype=np.uint64)
        self._sizes = np.zeros(count, dtype=np.int64)

    def add(self, place: int, sketch: Hashes, size: int) -> None:
        self._sketches[place] = sketch
        self._sizes[place] = size

    def bounds(self, places: Integers, sketch: Hashes, size: int) -> NDArray[np.float64]:
        """What the similarity of a set to each of those at ``places`` is at most."""
        differing = np.bitwise_count(self._sketches[places] ^ sketch).sum(axis=1, dtype=np.int64)
        differing = np.maximum(differing, np.abs(self._sizes[places] - size))
        both = self._sizes[places] + size
        bounds: NDArray[np.float64] = (both - differing) / (both + differing)
        return bounds


def _sketch(hashes: Hashes) -> Hashes:
    cells = np.bincount((hashes % np.uint64(SKETCH_BITS)).astype(np.intp), minlength=SKETCH_BITS)
    return np.packbits(cells % 2 == 1).view(np.uint64)


class _Cached:
    """``load`` with its latest results in memory, at most ``limit`` bytes of them."""

    def __init__(self, load: Callable[[int], Hashes], limit: int) -> None:
        self._load = load
        self._room = limit
        self._held: OrderedDict[int, Hashes] = OrderedDict()

    def __call__(self, key: int) -> Hashes:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        value = self._held[key] = self._load(key)
        self._room -= value.nbytes
        while self._room < 0:
            self._room += self._held.popitem(last=False)[1].nbytes
        return value
