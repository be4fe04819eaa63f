"""From a source to a filtered, deduplicated corpus that is split by package."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from albor.config.schema.data import Filters, LocalSource, StdlibSource
from albor.data import documents, sources
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.filters import basic, syntax

SPLITS = ("train", "val")
OVERSHOOT = 2.0
"""A package that would take validation beyond so many times its target stays in training."""


def prepare(
    source: StdlibSource | LocalSource,
    *,
    filters: Filters,
    val_fraction: float,
    seed: int,
    max_documents: int | None,
    out: Path,
    progress: Callable[[int], None] = lambda read: None,
) -> dict[str, Any]:
    """Write ``out/train.parquet`` and ``out/val.parquet`` and return the facts about them.

    The two files depend on the set of documents, the filters, ``val_fraction`` and ``seed``, not on the order in
    which the source gives them. ``progress`` is called with the number of files read so far.

    Returns:
        ``documents`` and ``bytes`` (UTF-8) per split, ``packages`` (how many train, which validate), ``read``, and
        ``rejected`` by reason; read = documents + rejected.

    Raises:
        DataError: nothing is left, or the source cannot be read.
    """
    rejected: Counter[str] = Counter()
    kept: dict[str, Document] = {}
    read = 0
    for item in islice(sources.read(source), max_documents):
        read += 1
        progress(read)
        if reason := _reason(item, filters):
            rejected[reason] += 1
            continue
        assert isinstance(item, Document)
        sha256 = item.sha256
        rejected["duplicate"] += sha256 in kept
        # The smallest path survives, so the order of arrival does not matter.
        kept[sha256] = min(item, kept.get(sha256, item), key=lambda document: document.path)
    rejected = +rejected
    assert read == len(kept) + rejected.total(), "a document was lost or counted twice"
    if not kept:
        raise DataError(_nothing_left(read, rejected), help="point data.source at Python files, or loosen data.filters")

    ordered = sorted(kept.values(), key=lambda document: document.path)
    alone = len({document.package for document in ordered}) == 1
    sizes: Counter[str] = Counter()
    for document in ordered:
        sizes[document.path if alone else document.package] += len(document.text.encode())
    held_out = choose_validation(sizes, fraction=val_fraction, seed=seed)
    in_val = [(document.path if alone else document.package) in held_out for document in ordered]
    parts = {split: [d for d, v in zip(ordered, in_val, strict=True) if v == (split == "val")] for split in SPLITS}
    for split, part in parts.items():
        documents.write(out / f"{split}.parquet", part)
    return {
        "documents": {split: len(part) for split, part in parts.items()},
        "bytes": {split: sum(len(d.text.encode()) for d in part) for split, part in parts.items()},
        "packages": {"train": len(sizes) - len(held_out), "val": sorted(held_out)},
        "read": read,
        "rejected": dict(sorted(rejected.items())),
    }


def choose_validation(sizes: dict[str, int], *, fraction: float, seed: int) -> set[str]:
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


def _reason(item: Document | sources.Rejected, limits: Filters) -> str | None:
    if isinstance(item, sources.Rejected):
        return item.reason
    return basic(item.text, limits) or syntax(item.text)


def _nothing_left(read: int, rejected: Counter[str]) -> str:
    if not read:
        return "the source holds no Python file"
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items()))
    return f"none of the {read} files read is left: {reasons}"
