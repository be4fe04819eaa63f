"""A training of several ranks beside the same of one: what the programs that they run have in common, and the check."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from albor.config.schema.optim import AdamW
from albor.training.job import Job
from albor.training.run import Trained
from tests.training.toy import ToyBatches, toy_job

FILE = "model.safetensors"


def run_rank(
    directory: Path, fit: Callable[[Job], Trained], batches: type[ToyBatches] = ToyBatches, **own: Any
) -> None:
    """Trains as one rank of those there are, four rows a step among them; rank 0 leaves the weights.

    ``own`` are values of the trainer.
    """
    torch.set_num_threads(1)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    job = toy_job(directory / "checkpoints", optim=AdamW(lr=1e-2, eps=1e-3))
    job = replace(
        job,
        trainer=replace(job.trainer, micro_batch_size=4 // ranks, devices=ranks, **own),
        train=lambda rank, world: batches(22, 4 // world, seed=42, rank=rank, world_size=world),
    )
    trained = fit(job)
    if trained.rank == 0:
        save_file({name: tensor.contiguous() for name, tensor in trained.weights.items()}, directory / FILE)


def check_that_two_do_what_one_does(program: Path, word: str, directory: Path) -> None:
    """``program DIRECTORY WORD`` leaves the same weights with one rank and with two."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    found = []
    for ranks in (1, 2):
        place = directory / str(ranks)
        place.mkdir()
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}"] if ranks > 1 else []
        command = [sys.executable, *launcher, str(program), str(place), word]
        subprocess.run(command, check=True, env=environment, timeout=120)
        found.append(load_file(place / FILE))
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-3, atol=1e-4)
