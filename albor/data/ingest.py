"""The first step: read a task's documents, judge each alone, and write down what comparing them will need."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from albor.config.schema.data import Dedup, Filters
from albor.data import arrays, documents, sources
from albor.data.decontaminate import Index
from albor.data.documents import Document
from albor.data.filters import basic, licence, syntax
from albor.data.funnel import Funnel, Stopwatch
from albor.data.licences import header_licence
from albor.data.near import band_keys, shingles
from albor.data.parquet import write_file
from albor.data.secrets import secret
from albor.data.sources.base import Rejected, Task

STEPS = ("ingest", "licence", "basic", "syntax", "secrets")
DOCUMENTS, INDEX, BANDS, SHINGLES, OFFSETS = (
    "documents.parquet",
    "index.parquet",
    "bands.npy",
    "shingles.bin",
    "offsets.npy",
)
INDEX_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("place", pa.uint64(), nullable=False),  # hash of source, package and path
        pa.field("package", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("tier", pa.int32(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("contaminated", pa.string(), nullable=True),
    ]
)
BATCH = 256
"""Documents whose signatures are made together."""


def ingest(
    task: Task, directory: Path, *, filters: Filters, dedup: Dedup, benchmarks: Path | None, count_words: bool
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write the documents that pass alone, and per document: identity, size, MinHash bands, shingles, and the
    benchmark it holds a part of.

    Returns:
        ``steps`` (rows of ``StepRow`` as plain data), and seconds by kind of work.
    """
    work = _Ingest(filters, dedup, Index.load(benchmarks) if benchmarks else None, count_words)
    start = time.perf_counter()
    with (directory / SHINGLES).open("wb") as shingle_file:
        documents.write(directory / DOCUMENTS, work.kept(task, shingle_file))
    work.save(directory)
    work.watch.seconds["write"] = time.perf_counter() - start - sum(work.watch.seconds.values())
    return {"steps": [asdict(row) for row in work.funnel.rows()]}, dict(work.watch.seconds)


class _Ingest:
    def __init__(self, filters: Filters, dedup: Dedup, benchmarks: Index | None, count_words: bool) -> None:
        self.filters, self.dedup, self.benchmarks, self.count_words = filters, dedup, benchmarks, count_words
        self.funnel, self.watch = Funnel(STEPS), Stopwatch()
        self.records: list[dict[str, Any]] = []
        self.bands: list[NDArray[np.uint64]] = []
        self.offsets = [0]

    def kept(self, task: Task, shingle_file: BinaryIO) -> Iterator[Document]:
        pending: list[NDArray[np.uint64]] = []
        for item in self.watch.each("read", sources.read(task)):
            if not self.passes(item):
                continue
            assert isinstance(item, Document)
            self.records.append(self.record(item))
            if self.dedup.near:
                with self.watch("shingles"):
                    pending.append(shingles(item.text, self.dedup.shingle))
                    arrays.append(shingle_file, pending[-1])
                    self.offsets.append(self.offsets[-1] + len(pending[-1]))
                if len(pending) == BATCH:
                    self.sign(pending)
            yield item
        if pending:
            self.sign(pending)

    def passes(self, item: Document | Rejected) -> bool:
        if isinstance(item, Rejected):
            return not self.funnel.take("ingest", 0, item.reason)
        size = len(item.text.encode())
        self.funnel.take("ingest", size, None)
        judgments: tuple[tuple[str, Callable[[], str | None]], ...] = (
            ("licence", lambda: self.licence(item)),
            ("basic", lambda: basic(item.text, self.filters)),
            ("syntax", lambda: syntax(item.text) if self.filters.syntax else None),
            ("secrets", lambda: secret(item.text) if self.filters.secrets else None),
        )
        for step, judge in judgments:
            with self.watch(step):
                reason = judge()
            if self.funnel.take(step, size, reason):
                return False
        return True

    def licence(self, document: Document) -> str | None:
        return licence(document.licence, self.filters) or header_licence(document.text, self.filters.licences)

    def record(self, document: Document) -> dict[str, Any]:
        with self.watch("decontaminate"):
            contaminated = self.benchmarks.find(document.text) if self.benchmarks else None
        with self.watch("identity"):
            place = "\0".join((document.source, document.package, document.path)).encode()
            text = document.text.encode()
            return {
                "sha256": hashlib.sha256(text).digest(),
                "place": int.from_bytes(hashlib.sha256(place).digest()[:8], "big"),
                "package": document.package,
                "source": document.source,
                "licence": document.licence,
                "tier": document.tier,
                "copies": document.copies,
                "bytes": len(text),
                "characters": len(document.text),
                "words": len(document.text.split()) if self.count_words else 0,
                "contaminated": contaminated,
            }

    def sign(self, pending: list[NDArray[np.uint64]]) -> None:
        with self.watch("minhash"):
            self.bands.append(band_keys(pending, bands=self.dedup.bands, rows=self.dedup.rows))
        pending.clear()

    def save(self, directory: Path) -> None:
        write_file(
            directory / INDEX, INDEX_SCHEMA, [pa.Table.from_pylist(self.records, INDEX_SCHEMA)], compression="zstd"
        )
        # A row per band: comparing reads one band of all documents at a time.
        keys = np.concatenate(self.bands) if self.bands else np.empty((0, self.dedup.bands), np.uint64)
        arrays.save(directory / BANDS, np.ascontiguousarray(keys.T))
        arrays.save(directory / OFFSETS, np.array(self.offsets, dtype=np.int64))
