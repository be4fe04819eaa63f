"""Which of the documents that passed alone stay, and in which split: decided over all of them at once.

Nothing here depends on the order in which documents come: of several equal or similar ones the survivor is the first
by (held out, tier, licence, SHA-256), and chances are hashes. Memory is some hundred bytes a document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from albor.config.schema.data import Dedup
from albor.data.card import StepRow
from albor.data.errors import DataError
from albor.data.funnel import Funnel
from albor.data.ingest import BANDS, INDEX, OFFSETS, SHINGLES
from albor.data.near import representatives
from albor.data.parquet import SPLITS

STEPS = ("exact", "near", "benchmarks", "weights")
TRAIN, VAL, DROPPED = 0, 1, 2
OVERSHOOT = 2.0
"""A package that would take validation beyond so many times its target stays in training."""


@dataclass(frozen=True)
class Selection:
    """The decision about every document, in the order of the ingested parts."""

    assigned: NDArray[np.int8]
    """TRAIN, VAL or DROPPED."""
    steps: list[StepRow]
    held_out: list[str]
    """Packages that validate; empty when single files do."""
    packages: dict[str, int]
    """Packages with a document in each split."""
    names: list[str]
    """Every package there was to choose from."""
    unknown: list[str]
    """Names to hold out that are none of them."""


def select(
    parts: Sequence[Path],
    *,
    dedup: Dedup,
    held_out: Sequence[str],
    val_fraction: float,
    seed: int,
    weights: Mapping[str, float],
) -> Selection:
    """Decide over the documents of ``parts``, directories that ``ingest`` wrote."""
    index = _Index(parts)
    named = set(held_out)
    by_name = np.array([name in named for name in index.package_names])[index.packages]
    rank = index.rank(by_name)
    funnel = Funnel(STEPS)
    alive = np.ones(len(index), dtype=bool)

    def drop(step: str, victims: NDArray[np.bool_], reasons: Sequence[str | None] | str) -> None:
        funnel.take_many(step, index.bytes, alive, victims & alive, reasons)
        alive[victims] = False

    drop("exact", ~_first_of_each(index.sha256, rank), "duplicate")
    drop("near", _near_duplicates(parts, index, rank, alive, dedup) if dedup.near else ~alive, "near_duplicate")
    drop("benchmarks", np.array([name is not None for name in index.contaminated]), index.contaminated)
    in_val = by_name if len(held_out) else _choose(index, alive, fraction=val_fraction, seed=seed)
    drop("weights", _surplus(index, alive & ~in_val, weights), "surplus")
    assigned = np.where(alive, np.where(in_val, VAL, TRAIN), DROPPED).astype(np.int8)
    unknown = sorted(set(held_out).difference(index.package_names))
    return Selection(assigned, funnel.rows(), *_packages(index, assigned), index.package_names, unknown)


def choose_validation(sizes: Mapping[str, int], *, fraction: float, seed: int) -> set[str]:
    """The packages (name → bytes) to hold out: about ``fraction`` of the bytes, taken in the order of hash(seed, name).

    Training keeps at least one package. With two or more, and ``fraction`` above 0, validation gets at least one: the
    smallest when every package overshoots.
    """
    order = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if fraction == 0 or len(order) < 2:
        return set()
    target = fraction * sum(sizes.values())
    chosen: set[str] = set()
    filled = 0
    for name in order:
        if filled >= target or len(chosen) == len(order) - 1:
            break
        if filled + sizes[name] <= OVERSHOOT * target:
            chosen.add(name)
            filled += sizes[name]
    return chosen or {min(order, key=lambda name: sizes[name])}


class _Index:
    """What ``ingest`` wrote down about every document, as columns."""

    def __init__(self, parts: Sequence[Path]) -> None:
        table = pa.concat_tables([pq.read_table(part / INDEX) for part in parts])
        digests = table.column("sha256").combine_chunks()
        self.sha256 = np.frombuffer(digests.buffers()[1], ">u8").reshape(-1, 4)[digests.offset :][: len(digests)]
        self.place, self.tier, self.copies, self.bytes = (
            table.column(name).to_numpy() for name in ("place", "tier", "copies", "bytes")
        )
        self.packages, self.package_names = _codes(table.column("package"))
        self.licences, _ = _codes(table.column("licence"))
        self.sources, self.source_names = _codes(table.column("source"))
        self.contaminated: list[str | None] = table.column("contaminated").to_pylist()

    def __len__(self) -> int:
        return len(self.sha256)

    def rank(self, held_out: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Who survives among similar documents: the smallest. What validates comes first, so that neither the
        training corpus nor its other packages change what is measured."""
        order = np.lexsort((self.place, *self.sha256.T[::-1], self.licences, self.tier, ~held_out))
        rank = np.empty(len(self), dtype=np.int64)
        rank[order] = np.arange(len(self))
        return rank


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers in the alphabetic order of the names, and the names."""
    encoded = column.dictionary_encode().unify_dictionaries()
    dictionary = encoded.chunk(0).dictionary
    order = pc.array_sort_indices(dictionary).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    indices = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    return place[indices], dictionary.take(pa.array(order)).to_pylist()


def _first_of_each(keys: NDArray[np.uint64], rank: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row [n, 4] has the smallest rank among the equal ones."""
    order = np.lexsort((rank, *keys.T))
    first = np.ones(len(keys), dtype=bool)
    first[order[1:]] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    return first


def _near_duplicates(
    parts: Sequence[Path], index: _Index, rank: NDArray[np.int64], alive: NDArray[np.bool_], dedup: Dedup
) -> NDArray[np.bool_]:
    offsets = [np.load(part / OFFSETS) for part in parts]
    starts = np.cumsum([0, *(len(part) - 1 for part in offsets)])
    usable = alive & (np.concatenate([np.diff(part) for part in offsets]) > 0)

    def shingles(document: int) -> NDArray[np.uint64]:
        part = int(np.searchsorted(starts, document, side="right")) - 1
        first, last = offsets[part][document - starts[part] :][:2].tolist()
        return np.fromfile(parts[part] / SHINGLES, np.uint64, count=last - first, offset=8 * first)

    stands_for = representatives(
        rank=rank,
        # A copy of each: a mapped file stays open, and there may be more than a process may open.
        band=lambda number: np.concatenate([np.array(np.load(part / BANDS, mmap_mode="r")[number]) for part in parts]),
        bands=dedup.bands,
        usable=usable,
        shingles=shingles,
        threshold=dedup.threshold,
    )
    duplicate: NDArray[np.bool_] = stands_for != np.arange(len(index))
    return duplicate


def _choose(index: _Index, alive: NDArray[np.bool_], *, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Whole packages; single documents where there is only one package."""
    documents = np.flatnonzero(alive)
    groups = index.packages[documents]
    if len(np.unique(groups)) > 1:
        sizes = np.bincount(groups, weights=index.bytes[documents], minlength=len(index.package_names))
        present = np.flatnonzero(sizes)
        names = [index.package_names[package] for package in present.tolist()]
    else:
        present, sizes = documents, index.bytes
        groups = documents
        names = [row.tobytes().hex() for row in index.sha256[documents]]
    by_name = dict(zip(names, sizes[present].astype(int).tolist(), strict=True))
    chosen = choose_validation(by_name, fraction=fraction, seed=seed)
    picked = present[[name in chosen for name in names]]
    in_val = np.zeros(len(index), dtype=bool)
    in_val[documents] = np.isin(groups, picked)
    return in_val


def _surplus(index: _Index, train: NDArray[np.bool_], weights: Mapping[str, float]) -> NDArray[np.bool_]:
    """The documents that a source of a weighted mix has too many: what no longer fits, in the order of SHA-256."""
    surplus = np.zeros(len(index), dtype=bool)
    if not weights:
        return surplus
    numbers = {name: number for number, name in enumerate(index.source_names)}
    members = {name: np.flatnonzero(train & (index.sources == numbers.get(name, -1))) for name in weights}
    sizes = {name: (index.bytes * index.copies)[m] for name, m in members.items()}
    for name, size in sizes.items():
        if not size.sum():
            raise DataError(
                f"data.source.parts.{name} has a weight and no training document is left of it",
                help="see `albor data stats` of the part alone, or remove its weight",
            )
    unit = min(size.sum() / weights[name] for name, size in sizes.items())
    for name, documents in members.items():
        order = np.lexsort(index.sha256[documents].T[::-1])
        room = round(unit * weights[name])
        for document, size in zip(documents[order].tolist(), sizes[name][order].tolist(), strict=True):
            # One that does not fit is left out; a smaller one behind it may still fit.
            surplus[document] = size > room
            room -= 0 if surplus[document] else size
    return surplus


def _packages(index: _Index, assigned: NDArray[np.int8]) -> tuple[list[str], dict[str, int]]:
    """The packages that validate wholly, and how many packages each split has."""
    of = {split: np.unique(index.packages[assigned == number]) for number, split in enumerate(SPLITS)}
    held_out = np.setdiff1d(of["val"], of["train"])
    return [index.package_names[package] for package in held_out.tolist()], {
        split: len(packages) for split, packages in of.items()
    }
