"""A few steps of learning from chunks, run by every rank. Rank 0 leaves the weights.

python aligning.py DIRECTORY {ddp,fsdp}
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from albor.config.schema.distill import Distill
from albor.config.schema.optim import AdamW
from albor.data.alignment import INSIDE
from albor.training.distill import fit_aligned
from tests.training.toy import MODEL, ToyBatches, toy_job


class Marked(ToyBatches):
    """Batches that bring what a teacher said who finds every next token as likely as ``nats`` says, two by two."""

    nats = -0.5

    def __iter__(self) -> Iterator[Any]:
        for tokens, labels in super().__iter__():
            marks = np.full((*labels.shape, 1), INSIDE, np.float32)
            marks[:, 1::2] = 2 * self.nats
            yield tokens, labels, marks


def main(directory: Path, strategy: Any) -> None:
    torch.set_num_threads(1)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    job = toy_job(directory / "checkpoints", optim=AdamW(lr=1e-2, eps=1e-3))
    job = replace(
        job,
        trainer=replace(job.trainer, micro_batch_size=4 // ranks, devices=ranks, strategy=strategy),
        train=lambda rank, world: Marked(22, 4 // world, seed=42, rank=rank, world_size=world),
    )
    trained = fit_aligned(MODEL, job, None, Distill(route="alignment"))
    if trained.rank == 0:
        save_file(
            {name: tensor.contiguous() for name, tensor in trained.weights.items()}, directory / "model.safetensors"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
