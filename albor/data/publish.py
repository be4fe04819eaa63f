"""The documents that stay, written as the shards of each split, and counted."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from albor.data import documents, ingest
from albor.data.card import Lengths, StepRow
from albor.data.parquet import SPLITS, link_shards, write_file
from albor.data.select import DROPPED, Selection
from albor.data.steps import Output
from albor.data.tally import Tally
from albor.runs.files import write_text

STEPS, SOURCES, LENGTHS = "steps.json", "sources.json", "lengths.json"
EDGES = [2**power for power in range(5, 18)]
"""Characters: where the bins of document lengths begin."""


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
    facts: dict[str, Any] = {"documents": {}, "bytes": {}, "words": {}, "lengths": {}}
    tally = Tally()
    for number, split in enumerate(SPLITS):
        mask = assigned == number
        facts["documents"][split] = int(mask.sum())
        facts["bytes"][split], facts["words"][split] = (int(sizes[name][mask].sum()) for name in ("bytes", "words"))
        bins = np.searchsorted(EDGES, sizes["characters"][mask], side="right") - 1
        facts["lengths"][split] = np.bincount(np.maximum(bins, 0), minlength=len(EDGES)).tolist()
        if mask.any():
            tables = documents.filtered(part.ingested.path / ingest.DOCUMENTS, mask)
            write_file(directory / f"{split}.parquet", documents.SCHEMA, tables, compression="zstd")
            _count_sources(tally, directory / f"{split}.parquet", sizes["bytes"][mask], split)
    tally.save(directory / SOURCES)
    return facts, {"publish": time.perf_counter() - start}


def _count_sources(tally: Tally, path: Path, sizes: NDArray[np.int64], split: str) -> None:
    keys = ["source", "package", "version", "licence"]
    table = pq.read_table(path, columns=keys).append_column("bytes", pa.array(sizes))
    for row in table.group_by(keys).aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist():
        key = (row["source"], row["package"], row["version"], row["licence"], split)
        tally.add(key, documents=row["bytes_count"], bytes=row["bytes_sum"])


def link(published: Sequence[Output], out: Path) -> None:
    """Number the shards of each split through."""
    for split in SPLITS:
        made = [output.path / f"{split}.parquet" for output in published if f"{split}.parquet" in output.files]
        link_shards(made, out, split)


def write_statistics(out: Path, steps: Sequence[StepRow], published: Sequence[Output]) -> None:
    tally = Tally()
    for output in published:
        tally.load(output.path / SOURCES)
    counted = {
        split: np.sum([output.facts["lengths"][split] for output in published], axis=0).tolist() for split in SPLITS
    }
    tally.save(out / SOURCES)
    write_text(out / STEPS, json.dumps([asdict(step) for step in steps], indent=1))
    write_text(out / LENGTHS, json.dumps(asdict(Lengths(edges=EDGES, **counted)), indent=1))
