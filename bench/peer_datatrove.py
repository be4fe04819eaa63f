"""albor's pipeline beside datatrove's: the same documents, tokenizer, engine and cores, in turns.

    python -m bench.peer_datatrove [--megabytes 200] [--workers 2] [--rounds 3] [--english] [--venv DIR]

Both read the same Parquet files, apply the same basic filter, search near duplicates in 32 bands of 8 MinHashes over
runs of five words, and tokenize what is left with the same tokenizer.json, trained beforehand. Whole processes are
timed. datatrove has an environment of its own, made at the first run; `datatrove_pipeline.py` says how it is tuned.

albor does more: it verifies every pair, writes the kept documents too, packs rows, hashes and flushes what it wrote.
``--english`` adds datatrove with its own English words and normalisation, which needs spaCy.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from bench.data import corpus
from bench.timing import machine

DATATROVE = "0.10.1"
ENGINES = ("numpy", "pyarrow", "tokenizers")
"""Of the version that albor runs on."""
PLAIN = (f"datatrove=={DATATROVE}", "regex", "xxhash<4", *(f"{name}=={version(name)}" for name in ENGINES))
"""What these steps need of datatrove's extras; xxhash 4 it cannot call."""
ENGLISH = ("spacy==3.8.*",)
TARGET = 2.0
SHARDS_PER_WORKER = 4
ROW_GROUP = 256
TRAINED_ON = 30_000_000
VOCABULARY = 32_768
COLUMNS = "| | s | MB/s of source | CPU s | read | passed the filter | kept | tokens |"


@dataclass(frozen=True)
class Work:
    """What both are given."""

    source: Path
    tokenizer: Path
    workers: int
    megabytes: float


@dataclass(frozen=True)
class Run:
    """One process, from start to end."""

    wall: float
    cpu: float
    read: int
    passed: int
    kept: int
    tokens: int
    seconds: dict[str, float]
    """Of the two halves, wall; and of all processes together in the tokenizer."""


CHOOSE, TOKENIZE, ALONE = "read, filter, near-dedup", "tokenize, write", "of that in the tokenizer, all cores' seconds"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--english", action="store_true")
    parser.add_argument("--venv", type=Path, default=Path(f"~/.cache/albor/datatrove-{DATATROVE}"))
    given = parser.parse_args()
    python = environment(given.venv.expanduser(), (*PLAIN, *(ENGLISH if given.english else ())))
    cores = sorted(os.sched_getaffinity(0))[: given.workers]
    with tempfile.TemporaryDirectory() as directory:
        work = prepared(Path(directory), given.megabytes, given.workers)
        os.sched_setaffinity(0, cores)  # and so are both
        sides: dict[str, Callable[[Path], Run]] = {
            "albor": lambda out: albor(work, out),
            "datatrove": lambda out: datatrove(work, out, python, "plain"),
        }
        if given.english:
            sides["datatrove, English words"] = lambda out: datatrove(work, out, python, "english")
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for number in range(given.rounds):
            for name, side in sides.items():
                out = Path(directory, f"{number} {name}")
                out.mkdir()
                os.sync()  # nobody pays for what another wrote
                runs[name].append(side(out))
                shutil.rmtree(out)
    print(f"{machine()}\n\n{work.megabytes:,.0f} MB, {given.workers} workers, {given.rounds} rounds, medians; ", end="")
    print(f"datatrove {DATATROVE}, {', '.join(f'{name} {version(name)}' for name in ENGINES)}\n")
    return report(work, runs)


def environment(venv: Path, packages: Sequence[str]) -> Path:
    """The interpreter of a virtual environment with these packages."""
    python, made = venv / "bin" / "python", venv / "packages.json"
    if not made.exists() or not set(packages) <= set(json.loads(made.read_text())):
        print(f"making {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        made.write_text(json.dumps(list(packages)))
    return python


def prepared(directory: Path, megabytes: int, workers: int) -> Work:
    """Installed packages as Parquet files whose documents are mixed, and a tokenizer trained on some of them."""
    from albor.data.tokenizer import train_bpe

    corpus(directory / "tree", megabytes)
    found = sorted((directory / "tree").rglob("*.py"))
    random.Random(0).shuffle(found)
    texts = [text for path in found if (text := path.read_text(encoding="utf-8", errors="replace"))]
    source = directory / "source"
    source.mkdir()
    shards = SHARDS_PER_WORKER * workers
    for number in range(shards):
        part = texts[number::shards]
        table = pa.table({"id": [f"{number}/{row}" for row in range(len(part))], "text": part})
        pq.write_table(table, source / f"{number:03}.parquet", row_group_size=ROW_GROUP, compression="zstd")
    size = sum(len(text.encode()) for text in texts)
    train_bpe(texts[:: max(1, size // TRAINED_ON)], vocab_size=VOCABULARY).save(str(directory / "tokenizer.json"))
    return Work(source, directory / "tokenizer.json", workers, size / 1e6)


def albor(work: Work, out: Path) -> Run:
    command = [
        *(sys.executable, "-m", "albor", "stage=pack", "data=parquet", "tokenizer=hf", "tracking=none"),
        f"data.source.paths=['{work.source}/*.parquet']",
        "data.source.licence=MIT",
        *("data.filters.syntax=false", "data.filters.secrets=false", "data.fim_rate=0"),
        f"tokenizer.path={work.tokenizer}",
        f"tokenizer.vocab_size={VOCABULARY}",
        f"executor.workers={work.workers}",
        f"outputs={out.as_posix()!r}",
    ]
    wall, cpu = clocked(command, out)
    stages = {stage: next((out / stage).glob("*/")) for stage in ("prepare", "tokenizer", "pack")}
    manifests = {stage: yaml.safe_load((run / "manifest.yaml").read_text()) for stage, run in stages.items()}
    took = {stage: made["finished"] - made["started"] for stage, made in manifests.items()}
    steps = {step["name"]: step for step in json.loads((stages["prepare"] / "artifact" / "steps.json").read_text())}
    metrics = json.loads((stages["pack"] / "metrics.jsonl").read_text())
    facts = manifests["pack"]["facts"]
    return Run(
        wall=wall,
        cpu=cpu,
        read=steps["ingest"]["taken"],
        passed=steps["basic"]["kept"],
        kept=sum(manifests["prepare"]["facts"]["documents"].values()),
        tokens=facts["tokens"] + facts["val_tokens"],
        seconds={
            CHOOSE: took["prepare"],
            TOKENIZE: took["tokenizer"] + took["pack"],
            ALONE: metrics["seconds/encode"],
        },
    )


def datatrove(work: Work, out: Path, python: Path, words: str) -> Run:
    command = [
        *(str(python), str(Path(__file__).with_name("datatrove_pipeline.py"))),
        *("--source", str(work.source), "--tokenizer", str(work.tokenizer), "--out", str(out)),
        *("--workers", str(work.workers), "--words", words),
    ]
    wall, cpu = clocked(command, out)
    result = json.loads((out / "result.json").read_text())
    *choose, tokenize = result["seconds"].values()
    return Run(
        wall=wall,
        cpu=cpu,
        seconds={CHOOSE: sum(choose), TOKENIZE: tokenize, ALONE: result["tokenizing"]},
        **{count: result[count] for count in ("read", "passed", "kept", "tokens")},
    )


def clocked(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Wall seconds of a process, and CPU seconds of it and all that it waited for. Raises when it fails."""
    with (out / "log").open("w+b") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{log.read().decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime


def report(work: Work, runs: dict[str, list[Run]]) -> int:
    walls = {name: statistics.median(run.wall for run in made) for name, made in runs.items()}
    print(f"{COLUMNS}\n|{'---|' * COLUMNS.count(' |')}")
    for name, made in runs.items():
        cpu = statistics.median(run.cpu for run in made)
        counts = (made[-1].read, made[-1].passed, made[-1].kept, made[-1].tokens)
        rate = work.megabytes / walls[name]
        print(f"| {name} | {walls[name]:.1f} | {rate:.2f} | {cpu:.1f} |{''.join(f' {n:,} |' for n in counts)}")
    print(f"\n| seconds | {' | '.join(runs)} |\n|{'---|' * (len(runs) + 1)}")
    halves = {
        name: {key: statistics.median(run.seconds[key] for run in made) for key in (CHOOSE, TOKENIZE, ALONE)}
        for name, made in runs.items()
    }
    for key in (CHOOSE, TOKENIZE, ALONE):
        print(f"| {key} | {' | '.join(f'{seconds[key]:.1f}' for seconds in halves.values())} |")
    rest = (walls[name] - seconds[CHOOSE] - seconds[TOKENIZE] for name, seconds in halves.items())
    print(f"| start, end, between | {' | '.join(f'{seconds:.1f}' for seconds in rest)} |\n")
    ratios = {name: wall / walls["albor"] for name, wall in walls.items() if name != "albor"}
    for name, ratio in ratios.items():
        print(f"albor has {ratio:.2f} times the throughput of {name}; target: {TARGET:g}")
    return 0 if ratios["datatrove"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
