"""The data pipeline on real Python: throughput against the ceiling of its own steps, memory, tokenizing, the loader.

    python -m bench.data pipeline [--megabytes 50 200 1000]   # end to end by the command line
    python -m bench.data tokenize                             # beside `tokenizers` alone, on all cores
    python -m bench.data loader                               # tokens per second; first batch of a billion tokens

The corpus is the installed packages of this interpreter. What is larger than they are is made of copies whose words
are renamed, so that nothing is a duplicate of anything.
"""

from __future__ import annotations

import argparse
import json
import keyword
import os
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import memory
from bench.timing import machine

WORD = re.compile(r"\b[a-z_]{5,}\b")
KEPT = {*keyword.kwlist, *dir(__builtins__)}
LARGEST = 400_000
"""Files beyond are dropped by the filters anyway and would only inflate the rate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pipeline", "tokenize", "loader"))
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--benchmarks", help="directory of benchmark files to keep the corpus free of")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as directory:
        if arguments.what == "pipeline":
            for megabytes in arguments.megabytes:
                pipeline(Path(directory), megabytes, arguments.workers, arguments.benchmarks)
        else:
            {"tokenize": tokenize, "loader": loader}[arguments.what](Path(directory))


def installed() -> Iterator[Path]:
    """Python files of the installed packages, in an order that mixes them."""
    root = Path(sysconfig.get_path("purelib"))
    files = [path for path in root.rglob("*.py") if path.stat().st_size <= LARGEST]
    return iter(sorted(files, key=lambda path: (hash_of(path.relative_to(root).parts[0]), str(path))))


def hash_of(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def corpus(target: Path, megabytes: int) -> int:
    """Copies installed packages below ``target`` until there are so many megabytes; returns the bytes."""
    root, size, copy = Path(sysconfig.get_path("purelib")), 0, 0
    while size < megabytes * 1_000_000:
        for path in installed():
            data = path.read_bytes()
            if copy:
                data = renamed(data.decode(errors="replace"), copy).encode()
            place = target / f"copy{copy}_{path.relative_to(root)}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            size += len(data)
            if size >= megabytes * 1_000_000:
                break
        copy += 1
    return size


def renamed(text: str, copy: int) -> str:
    """The same code with other words."""
    return WORD.sub(lambda match: match[0] if match[0] in KEPT else f"{match[0]}{copy}", text)


def pipeline(directory: Path, megabytes: int, workers: int, benchmarks: str | None) -> None:
    """One line per kind of work, and the whole: seconds, MB/s, share of the ceiling, peak memory."""
    source, outputs = directory / "source", directory / "outputs"
    size = corpus(source, megabytes)
    wall, peak = memory.run(
        [
            *(sys.executable, "-m", "albor", "stage=pack", "data=local", "model=350m", "tracking=none"),
            f"data.source.roots=['{source}']",
            "data.source.licence=MIT",
            f"outputs={outputs}",
            f"executor.workers={workers}",
            f"evals.data_dir={benchmarks or 'null'}",
        ],
        Path.cwd(),
    )
    cores = workers or len(os.sched_getaffinity(0))
    seconds: dict[str, float] = {}
    for stage in ("prepare", "pack"):
        metrics = next((outputs / stage).glob("*/metrics.jsonl")).read_text().splitlines()
        for line in map(json.loads, metrics):
            seconds |= {f"{stage}: {k.split('/')[1]}": v for k, v in line.items() if k.startswith("seconds/")}
    tokenizer = next((outputs / "tokenizer").glob("*"))
    times = {
        k: float(v)
        for k, v in re.findall(r"^(started|finished): ([0-9.]+)$", (tokenizer / "manifest.yaml").read_text(), re.M)
    }
    training = times["finished"] - times["started"]
    card = json.loads(next((outputs / "pack").glob("*/artifact/card.json")).read_text())
    print(f"## {size / 1e6:,.0f} MB of source, {cores} workers")
    for name, spent in seconds.items():
        print(f"{name:32} {spent:8.1f} s  {size / 1e6 / spent:9.1f} MB/s per core")
    print(f"{'tokenizer: train, all cores':32} {training:8.1f} s")
    ceiling = sum(seconds.values()) / cores + training
    facts = card["facts"]
    print(
        f"end to end {wall:.1f} s: {size / 1e6 / wall:.2f} MB/s of source, {ceiling / wall:.0%} of its steps' ceiling; "
        f"peak memory {peak / 2**30:.2f} GiB; {facts['tokens'] / 1e6:.1f}M tokens, fill {facts['fill']:.4f}\n"
    )
    shutil.rmtree(source)
    shutil.rmtree(outputs)


def tokenize(directory: Path) -> None:
    """The tokenize step, from Parquet to Parquet, beside `encode_batch_fast` on texts in memory: medians of three."""
    from tokenizers import Tokenizer

    from albor.config.schema.run import LocalExecutor
    from albor.data import documents
    from albor.data.documents import Document
    from albor.data.fim import FimMix
    from albor.data.pack import pack
    from albor.data.parquet import shard
    from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe
    from albor.executors import open_executor

    texts = [
        path.read_text(encoding="utf-8", errors="replace") for path, _ in zip(installed(), range(6000), strict=False)
    ]
    size = sum(len(text.encode()) for text in texts)
    saved = directory / "tokenizer"
    saved.mkdir()
    codec = Codec(train_bpe(texts[::4], vocab_size=32_768), fim=(PREFIX, SUFFIX, MIDDLE))
    codec.save(saved)
    (directory / "documents").mkdir()
    for number in range(12):
        part = [Document(t, "bench", "p", "", str(i), "MIT") for i, t in enumerate(texts[number::12]) if t]
        documents.write(shard(directory / "documents", "train", number), part)
    alone = Tokenizer.from_file(str(saved / "tokenizer.json"))
    alone.encode_special_tokens = True
    rates: dict[str, list[float]] = {"tokenizers alone": [], "albor, FIM 0": [], "albor, FIM 0.5": []}
    for round_ in range(4):
        start = time.perf_counter()
        for first in range(0, len(texts), 256):
            alone.encode_batch_fast(texts[first : first + 256], add_special_tokens=False)
        taken = {"tokenizers alone": time.perf_counter() - start}
        for name, rate in (("albor, FIM 0", 0.0), ("albor, FIM 0.5", 0.5)):
            out = directory / f"out{round_}{rate}"
            out.mkdir()
            with open_executor(LocalExecutor(), directory=out) as executor:
                executor.map(abs, [1, 2, 3])  # the pool is up
                start = time.perf_counter()
                pack(
                    directory / "documents", saved, row_len=2048, fim=FimMix(rate=rate, spm_rate=0.5), seed=0,
                    out=out, work=out / "work", executor=executor,
                )  # fmt: skip
                taken[name] = time.perf_counter() - start
            shutil.rmtree(out)
        if round_:
            for name, spent in taken.items():
                rates[name].append(size / 1e6 / spent)
    base = statistics.median(rates["tokenizers alone"])
    for name, found in rates.items():
        print(f"{name:20} {statistics.median(found):6.2f} MB/s  {statistics.median(found) / base:.0%}")


def loader(directory: Path) -> None:
    """Random batches of 32 rows from one file, and the first batch of a billion tokens in sparse files."""
    import numpy as np

    from albor.data import rows as row_files
    from albor.data.loader import Batches
    from albor.data.parquet import shard
    from albor.data.rows import Rows

    for row_len in (512, 1024, 2048):
        path = directory / f"rows{row_len}.parquet"
        content = np.random.default_rng(0).integers(0, 32_768, row_len).astype("<u2")
        ends = np.array([row_len // 3, row_len], dtype=np.int32)
        row_files.write(path, ((content, ends) for _ in range(100_000_000 // row_len)), row_len=row_len, token_bytes=2)
        batches = Batches(Rows(path), batch_size=32, seq_len=row_len, seed=0)
        start, count = time.perf_counter(), 0
        for tokens, _ in batches:
            count += tokens.size
        print(f"rows of {row_len}: {count / 1e6 / (time.perf_counter() - start):.0f}M tokens/s")
        path.unlink()
    zeros, ends = np.zeros(2048, dtype="<u2"), np.array([2048], dtype=np.int32)
    shards = 30
    for number in range(shards):
        path = shard(directory, "train", number)
        row_files.write(path, ((zeros, ends) for _ in range(2**30 // 2048 // shards)), row_len=2048, token_bytes=2)
        os.system(f"fallocate --dig-holes '{path}'")
    times = []
    for seed in range(5):
        start = time.perf_counter()
        rows = Rows([shard(directory, "train", number) for number in range(shards)])
        next(iter(Batches(rows, batch_size=32, seq_len=2048, seed=seed)))
        times.append(time.perf_counter() - start)
    print(f"first batch of {len(rows) * 2048 / 1e9:.2f}B tokens in {shards} files: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
