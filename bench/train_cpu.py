"""albor's training step on a CPU against transformers' LlamaForCausalLM: same size, batches, AdamW, process, threads.

    python -m bench.train_cpu [--steps 40] [--threads 2] [--model tiny]

The two take turns, step by step, so that both meet the same weather. bf16 is measured where oneDNN has it (AVX-512).
Both start from random weights of their own, so their losses are alike but not equal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from bench.timing import machine
from bench.training_step import Batch, albor, batches, plan, seconds_per_step, transformers

WARM_UP = 3
TARGET = 1.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    precisions = ["float32", "bf16"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ["float32"]
    print(f"{machine()}, torch {torch.__version__}, {given.threads} threads; medians of {given.steps} steps\n")
    print("| precision | albor tokens/s | transformers tokens/s | ratio | target |\n|---|---|---|---|---|")
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for precision in precisions:
            ours, theirs = rates(given.model, precision, given.steps)
            ratios.append(ours / theirs)
            print(f"| {precision} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} | ≥ {TARGET} |")
        os.chdir(Path.home())
    return 0 if min(ratios) >= TARGET else 1


def rates(model: str, precision: str, steps: int) -> tuple[float, float]:
    """Median tokens per second of albor and of transformers."""
    overrides = [f"model={model}", "tracking=none", f"trainer.precision={precision}", "trainer.accelerator=cpu"]
    build = [sys.executable, "-m", "albor", "stage=pack", f"model={model}", "tracking=none"]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target, device = plan(overrides), torch.device("cpu")
    subjects = [make(target.config, device) for make in (albor, transformers)]
    taken: list[list[float]] = [[], []]
    given: list[Batch] = batches(target, WARM_UP + steps, device)
    for index, batch in enumerate(given):
        for subject, times in zip(subjects, taken, strict=True):
            [seconds], _ = seconds_per_step(subject.step, [batch], device)
            if index >= WARM_UP:
                times.append(seconds)
    tokens = given[0][0].numel()
    ours, theirs = (tokens / statistics.median(times) for times in taken)
    return ours, theirs


if __name__ == "__main__":
    sys.exit(main())
