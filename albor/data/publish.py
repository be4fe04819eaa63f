"""The documents that stay, written as the shards of each split, and counted."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from albor.data import documents, ingest
from albor.data.card import Lengths, SourceRow, StepRow
from albor.data.parquet import SPLITS, shard, write_file
from albor.data.select import DROPPED, Selection
from albor.data.steps import Output
from albor.runs.files import write_text

STEPS, SOURCES, LENGTHS = "steps.json", "sources.json", "lengths.json"
EDGES = [2**power for power in range(5, 18)]
"""Characters: where the bins of document lengths begin."""
SUMMED = "(all)"
"""Stands for the packages of a source that has too many to list."""
LISTED_PACKAGES = 2_000


@dataclass(frozen=True)
class Part:
    """The documents of one ingested part, and the decision about each."""

    ingested: Output
    assigned: bytes
    """One byte a document: the number of its split, or DROPPED."""

    def identity(self) -> dict[str, str]:
        return {"ingested": self.ingested.digest, "assigned": self.assigned.hex()}


def parts(ingested: Sequence[Output], selection: Selection) -> list[Part]:
    sizes = [output.facts["steps"][-1]["kept"] for output in ingested]
    pieces = np.split(selection.assigned, np.cumsum(sizes)[:-1])
    return [
        Part(output, piece.tobytes())
        for output, piece in zip(ingested, pieces, strict=True)
        if (piece != DROPPED).any()
    ]


def publish(part: Part, directory: Path) -> tuple[dict[str, Any], dict[str, float]]:
    start = time.perf_counter()
    assigned = np.frombuffer(part.assigned, np.int8)
    index = pq.read_table(part.ingested.path / ingest.INDEX)
    sizes = {name: index.column(name).to_numpy() for name in ("bytes", "words", "characters")}
    facts: dict[str, Any] = {"documents": {}, "bytes": {}, "words": {}, "lengths": {}, "sources": []}
    for number, split in enumerate(SPLITS):
        mask = assigned == number
        facts["documents"][split] = int(mask.sum())
        facts["bytes"][split], facts["words"][split] = (int(sizes[name][mask].sum()) for name in ("bytes", "words"))
        bins = np.searchsorted(EDGES, sizes["characters"][mask], side="right") - 1
        facts["lengths"][split] = np.bincount(np.maximum(bins, 0), minlength=len(EDGES)).tolist()
        if mask.any():
            tables = documents.filtered(part.ingested.path / ingest.DOCUMENTS, mask)
            write_file(directory / f"{split}.parquet", documents.SCHEMA, tables, compression="zstd")
            facts["sources"] += _count_sources(directory / f"{split}.parquet", sizes["bytes"][mask], split)
    return facts, {"publish": time.perf_counter() - start}


def _count_sources(path: Path, sizes: Any, split: str) -> list[dict[str, Any]]:
    keys = ["source", "package", "version", "licence"]
    table = pq.read_table(path, columns=keys).append_column("bytes", pa.array(sizes))
    grouped = (
        table.group_by(keys).aggregate([("bytes", "sum"), ("bytes", "count")]).sort_by([(k, "ascending") for k in keys])
    )
    return [
        {k: row[k] for k in keys} | {"split": split, "documents": row["bytes_count"], "bytes": row["bytes_sum"]}
        for row in grouped.to_pylist()
    ]


def link(published: Sequence[Output], out: Path) -> None:
    """Number the shards of each split through. They stay where they were made as well, until the run is done."""
    for split in SPLITS:
        made = [output.path / f"{split}.parquet" for output in published if f"{split}.parquet" in output.files]
        for number, file in enumerate(made):
            target = shard(out, split, number)
            target.unlink(missing_ok=True)
            os.link(file, target)


def write_statistics(out: Path, steps: Sequence[StepRow], published: Sequence[Output]) -> None:
    totals: dict[tuple[str, ...], list[int]] = {}
    for row in (row for output in published for row in output.facts["sources"]):
        counts = totals.setdefault(tuple(row[k] for k in ("source", "package", "version", "licence", "split")), [0, 0])
        counts[0] += row["documents"]
        counts[1] += row["bytes"]
    rows = _sum_large(
        SourceRow(source=s, package=p, version=v, licence=li, split=sp, documents=n, bytes=size)
        for (s, p, v, li, sp), (n, size) in sorted(totals.items())
    )
    counted = {
        split: np.sum([output.facts["lengths"][split] for output in published], axis=0).tolist() for split in SPLITS
    }
    write_text(out / STEPS, json.dumps([asdict(step) for step in steps], indent=1))
    write_text(out / SOURCES, json.dumps([asdict(row) for row in rows], indent=1))
    write_text(out / LENGTHS, json.dumps(asdict(Lengths(edges=EDGES, **counted)), indent=1))


def _sum_large(rows: Iterable[SourceRow]) -> list[SourceRow]:
    """The rows; of a source with more than LISTED_PACKAGES packages one row by licence and split."""
    listed = list(rows)
    packages = Counter(source for source, _ in {(row.source, row.package) for row in listed})
    kept = [row for row in listed if packages[row.source] <= LISTED_PACKAGES]
    totals: dict[tuple[str, str, str], list[SourceRow]] = {}
    for row in listed:
        if packages[row.source] > LISTED_PACKAGES:
            totals.setdefault((row.source, row.licence, row.split), []).append(row)
    return kept + [
        SourceRow(
            source=source,
            package=SUMMED,
            version="",
            licence=licence,
            split=split,
            documents=sum(row.documents for row in group),
            bytes=sum(row.bytes for row in group),
        )
        for (source, licence, split), group in sorted(totals.items())
    ]
