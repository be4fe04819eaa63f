"""A prepared corpus, to be carried to a machine without a network: texts that compress, and the same bytes there.

    python -m bench.carry pack RUN OUT [--parts 4]    # a run of stage=prepare
    python -m bench.carry unpack OUT STORE            # with the pyarrow that wrote it: hashes are compared

OUT gets ``part1.txt`` and so on, which are for a compressor of your choice (7-Zip's PPMd makes 57 MB of the 440 MB of
``data=pypi``, the Parquet files are 97), ``table.parquet`` with all else that is known of the documents, and the run's
manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from albor.data.documents import SCHEMA
from albor.data.parquet import write_file
from albor.runs import manifest
from albor.runs.files import sha256_file

TABLE = "table.parquet"
KEPT = (manifest.NAME, manifest.BASIS)
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--parts", type=int, default=4)
    given = parser.parse_args()
    if given.verb == "pack":
        pack(given.source, given.target, given.parts)
        return 0
    wrong = unpack(given.source, given.target)
    print(f"not the same: {', '.join(wrong)}" if wrong else "every byte is the same")
    return 1 if wrong else 0


def pack(run: Path, out: Path, parts: int) -> None:
    """The texts of a run's documents in ``parts`` files of like size, and a table of the rest."""
    out.mkdir(parents=True, exist_ok=True)
    rows, texts = [], []
    for path in sorted((run / "artifact").glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                texts.append(row.pop("text").encode())
                del row["sha256"]  # it follows from the text
                rows.append(row | {"file": path.name, "group": group, "size": len(texts[-1])})
    ends = list(accumulate(map(len, texts)))
    for number in range(parts):
        low, high = (ends[-1] * n / parts for n in (number, number + 1))
        with (out / f"part{number + 1}.txt").open("wb") as part:
            part.writelines(text for text, end in zip(texts, ends, strict=True) if low < end <= high)
    pq.write_table(pa.Table.from_pylist(rows), out / TABLE, compression="zstd", compression_level=19)
    others = [path for path in (run / "artifact").iterdir() if path.suffix != ".parquet"]
    for path in (*(run / name for name in KEPT), *others):
        shutil.copy(path, out / path.name)


def unpack(source: Path, store: Path) -> list[str]:
    """The run again, in ``store``/outputs; the files of it whose bytes are others."""
    known = manifest.load(source)
    run = store / "outputs" / known.stage / f"{known.label}-{known.id}"
    artifact = run / "artifact"
    artifact.mkdir(parents=True, exist_ok=True)
    numbers = range(1, 1 + len(list(source.glob("part*.txt"))))
    text = b"".join((source / f"part{number}.txt").read_bytes() for number in numbers)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write_shard, *zip(*shards(source, text, artifact), strict=True)))
    for path in source.iterdir():
        if path.name in KEPT or path.name in known.files:
            shutil.copy(path, (run if path.name in KEPT else artifact) / path.name)
    return [name for name, file in known.files.items() if sha256_file(artifact / name) != file.sha256]


def shards(source: Path, text: bytes, artifact: Path) -> Iterator[tuple[Path, list[list[Row]]]]:
    """Each file and the rows of its row groups."""
    at = 0
    rows = pq.read_table(source / TABLE).to_pylist()
    for name, of_file in groupby(rows, key=lambda row: row["file"]):
        groups: list[list[Row]] = []
        for _, of_group in groupby(of_file, key=lambda row: row["group"]):
            groups.append([])
            for row in of_group:
                own = text[at : at + row["size"]]
                at += row["size"]
                groups[-1].append(row | {"text": own.decode(), "sha256": hashlib.sha256(own).hexdigest()})
        yield artifact / name, groups


def write_shard(path: Path, groups: Sequence[Sequence[Row]]) -> None:
    tables = (
        pa.table([pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA], schema=SCHEMA)
        for rows in groups
    )
    write_file(path, SCHEMA, tables, compression="zstd")


if __name__ == "__main__":
    sys.exit(main())
