"""Trainings that Slurm interrupts, again and again: ``python -m bench.requeue``.

Each is a Slurm job of its own (``executor=slurm``) on a Slurm that is started here. At a random moment it is sent
SIGUSR1, as ``sbatch --signal`` sends it before a time limit; it saves, puts itself back into the queue and goes on. Its
model must have the bytes of one that was trained here without interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from albor.runs.manifest import load
from bench.timing import machine
from tests.cluster.slurm import cluster, put_back, until
from tests.command import succeeds
from tests.small_corpus import TINY, write_corpus

TRAIN = (*TINY, "stage=pretrain", "trainer.epochs=60", "trainer.max_steps=300", "trainer.val_every=100",
         "trainer.save_every=200")  # fmt: skip


def interrupted(place: Path, number: int, words: tuple[str, ...], rng: random.Random) -> tuple[int, bool]:
    """A training in a store of its own, interrupted once: after which step, and whether its bytes are right."""
    store = place / f"interrupted-{number}"
    shutil.copytree(place / "whole", store, ignore=shutil.ignore_patterns("pretrain"))  # corpus, tokenizer, rows
    command = [sys.executable, "-m", "albor", *TRAIN, *words, "executor=slurm", f"outputs={store.name}"]
    driver = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True)
    at = rng.randint(2, 280)

    def steps() -> int:
        files = list(store.glob("pretrain/*/metrics.jsonl"))
        return len(files[0].read_text().splitlines()) if files else 0

    until(lambda: steps() > at or driver.poll() is not None, 300)
    (job,) = json.loads(next(store.glob(".sweeps/*/jobs/jobs.json")).read_text()).values()
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)

    put_back(job)
    _, said = driver.communicate(timeout=300)
    (run,) = (load(path) for path in store.glob("pretrain/*"))
    log = next(store.glob(".sweeps/*/logs/*.log")).read_text()
    saved = re.search(r"saved after step (\d+)", log)
    whole = load(next((place / "whole/pretrain").iterdir()))
    same = run.digest is not None and run.digest == whole.digest and "goes on from the checkpoint" in log
    if not same:
        logs = [path.read_text(errors="replace") for path in sorted((place / "slurm").glob("slurm*.log"))]
        of_job = [
            line for text in logs for line in text.splitlines() if re.search(rf"\b(JobId=|job ){job}\b", line, re.I)
        ]
        print(said, log, *of_job, sep="\n", file=sys.stderr)
    return int(saved[1]) if saved else -1, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("words", nargs="*", help="overrides: trainer.devices=2 trainer.micro_batch_size=1")
    arguments = parser.parse_args()
    print(machine())
    rng = random.Random(arguments.seed)
    words = tuple(arguments.words)
    with tempfile.TemporaryDirectory() as name, cluster(Path(name) / "slurm") as settings:
        os.environ["SLURM_CONF"] = str(settings)
        place = Path(name)
        write_corpus(place)
        succeeds(*TRAIN, *words, "outputs=whole", cwd=place)
        began = time.monotonic()
        with ThreadPoolExecutor(arguments.at_a_time) as pool:
            found = list(pool.map(lambda n: interrupted(place, n, words, rng), range(arguments.runs)))
        print(f"interrupted after step {', '.join(str(step) for step, _ in found)} of 300")
        print(f"{sum(same for _, same in found)} of {len(found)} equal to the bit; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
