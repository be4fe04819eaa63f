"""A model, data and a job small enough for tests; run as a program, it trains until done or told to stop.

python toy.py DIRECTORY [--pause SECONDS] [--strategy NAME] [--steps N] [--dropout P] [--rows N] [--micro N] [--accum N]
"""

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albor.config.schema.model import Model
from albor.config.schema.optim import AdamW
from albor.config.schema.trainer import Trainer
from albor.runs.metrics import MetricsLog
from albor.training.batches import Batch
from albor.training.job import Job
from albor.training.run import Trained

MODEL = Model(name="toy", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=61)  # fmt: skip
SEQ_LEN = 16


class ToyBatches:
    """Rows that count upwards from a random start, in a new order each epoch: the loader's protocol in memory."""

    def __init__(self, rows: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        starts = np.random.default_rng(seed).integers(0, MODEL.vocab_size, (rows, 1))
        self.rows = (starts + np.arange(SEQ_LEN + 1)) % MODEL.vocab_size
        self.batch_size, self.seed = batch_size * world_size, seed
        self.mine = slice(rank * batch_size, (rank + 1) * batch_size)
        self.epoch = self.batch = 0

    def __iter__(self) -> Iterator[Batch]:
        if (self.batch + 1) * self.batch_size > len(self.rows):
            self.epoch, self.batch = self.epoch + 1, 0
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.rows))
        while (self.batch + 1) * self.batch_size <= len(self.rows):
            start = self.batch * self.batch_size
            rows = self.rows[order[start : start + self.batch_size][self.mine]]
            self.batch += 1
            yield rows[:, :-1], rows[:, 1:].copy()

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.batch = state["epoch"], state["batch"]


def validation() -> list[Batch]:
    batches = ToyBatches(10, 4, seed=7)
    return [batch for _ in range(1) for batch in batches]


def toy_job(directory: Path, **changes: Any) -> Job:
    trainer = Trainer(max_steps=12, warmup_steps=2, micro_batch_size=4, grad_accum=2, accelerator="cpu", log_every=2,
                      val_every=5, val_rows=6, save_every=4)  # fmt: skip
    values: dict[str, Any] = {
        "name": "pretrain/toy",
        "optim": AdamW(lr=1e-2),
        "trainer": trainer,
        "total_steps": 12,
        "seq_len": SEQ_LEN,
        "seed": 42,
        "train": lambda rank, world: ToyBatches(22, 4, seed=42, rank=rank, world_size=world),
        "validation": validation,
        "directory": directory,
        "log": lambda metrics: None,
        "val_bytes_per_token": 2.0,
    }
    return Job(**{**values, **changes})


def weights(trained: Trained) -> dict[str, Tensor]:
    """The decoder's tensors at the end, on the CPU."""
    return {name: tensor.cpu().clone() for name, tensor in trained.weights.items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """To the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after a step")
    parser.add_argument("--strategy", default="ddp")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rows", type=int, default=22, help="of an epoch")
    parser.add_argument("--micro", type=int, default=4, help="rows of a micro-batch, of all ranks together")
    parser.add_argument("--accum", type=int, default=2, help="micro-batches of a step")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Leaves ``model/`` and ``result.json`` when done; exit code 75 when told to stop."""
    from albor.models.checkpoint import save_model
    from albor.training.pretrain import fit

    torch.set_num_threads(1)
    chosen = options(arguments)
    directory, ranks = chosen.directory, int(os.environ.get("WORLD_SIZE", "1"))
    directory.mkdir(parents=True, exist_ok=True)

    def progress(step: int, total: int, metrics: Any) -> None:
        print(step, flush=True)
        time.sleep(chosen.pause)

    with MetricsLog(directory) as log:
        job = toy_job(directory / "checkpoints", total_steps=chosen.steps, progress=progress, log=log)
        shape = {"micro_batch_size": chosen.micro // ranks, "grad_accum": chosen.accum, "devices": ranks}
        job = replace(
            job,
            trainer=replace(job.trainer, **shape, strategy=chosen.strategy, max_steps=chosen.steps, log_every=1),
            train=lambda rank, world: ToyBatches(
                chosen.rows, chosen.micro // world, seed=42, rank=rank, world_size=world
            ),
        )
        trained = fit(replace(MODEL, dropout=chosen.dropout), job)
    if trained.result["interrupted"]:
        return 75
    if trained.rank:
        return 0
    save_model(MODEL, trained.weights, directory / "model")
    (directory / "result.json").write_text(json.dumps(trained.result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
