"""Optuna's TPE against random search on a real objective: ``python -m bench.search``.

``tiny`` is trained on the standard library for a fixed number of steps, about 15 seconds on one core; what is sought is
its validation loss over the rate, the weight decay, the warmup and the clipping. Each repetition has a seed of its own,
and both samplers begin with the same number of trials at random. Searches run side by side, one core each.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna

from bench.timing import machine, seconds

TRAIN = ("stage=pretrain", "model=tiny", "tracking=none", "trainer.val_every=1000", "trainer.save_every=1000",
         "trainer.micro_batch_size=4", "trainer.grad_accum=1", "data.seq_len=256", "trainer.val_rows=64",
         "allow=[C-TRAINCFG-003]")  # fmt: skip
SPACE = (
    "optim.lr=tag(log, interval(1e-4, 1e-1))",
    "optim.weight_decay=interval(0, 0.5)",
    "trainer.warmup_steps=int(interval(1, 20))",
    "optim.clip_norm=tag(log, interval(0.1, 10))",
)


def search(place: Path, sampler: str, seed: int, arguments: argparse.Namespace) -> list[float]:
    """The best loss after each trial of one search."""
    wanted = [f"sampler={sampler}", f"seed={seed}", f"n_trials={arguments.trials}", "n_startup_trials=4"]
    storage = f"sqlite:///{place / f'{sampler}-{seed}.db'}"
    words = [f"hydra.sweeper.{word}" for word in (*wanted, f"storage={storage}")]
    base = [*TRAIN, f"trainer.max_steps={arguments.steps}"]
    command = [sys.executable, "-m", "albor", "-m", *base, *SPACE, "hydra/sweeper=optuna", *words]
    done = subprocess.run(
        command, cwd=place, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    (study,) = optuna.get_all_study_summaries(storage)
    values = [t.value for t in optuna.load_study(study_name=study.study_name, storage=storage).trials]
    best, found = math.inf, []
    for value in values:
        best = min(best, math.inf if value is None else value)
        found.append(best)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--place", type=Path, default=Path("build/search"))
    arguments = parser.parse_args()
    place = arguments.place.absolute()
    place.mkdir(parents=True, exist_ok=True)
    print(machine())
    seconds([sys.executable, "-m", "albor", "stage=pack", *TRAIN[1:3]], place)
    asked = [(sampler, seed) for seed in range(arguments.repetitions) for sampler in ("tpe", "random")]
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        found = dict(zip(asked, pool.map(lambda one: search(place, one[0], one[1], arguments), asked), strict=True))
    print("| repetition | TPE: best after 4, 8, all trials | random: best after 4, 8, all | lower in the end |")
    print("|---|---|---|---|")
    wins = 0
    for seed in range(arguments.repetitions):
        rows = [found[sampler, seed] for sampler in ("tpe", "random")]
        shown = [", ".join(f"{row[at]:.4f}" for at in (3, 7, -1)) for row in rows]
        wins += rows[0][-1] < rows[1][-1]
        print(f"| {seed} | {shown[0]} | {shown[1]} | {'TPE' if rows[0][-1] < rows[1][-1] else 'random'} |")
    ends = [[found[sampler, seed][-1] for seed in range(arguments.repetitions)] for sampler in ("tpe", "random")]
    means = [sum(row) / len(row) for row in ends]
    print(f"TPE is lower in {wins} of {arguments.repetitions}; mean {means[0]:.4f} against {means[1]:.4f}")


if __name__ == "__main__":
    main()
