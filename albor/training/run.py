"""Drives an objective with Lightning's Trainer, from its newest checkpoint if it has one."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from albor.config.schema.model import Model
from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import parallel, rng
from albor.training.base import Objective
from albor.training.batches import Windows
from albor.training.checkpoint import load_latest
from albor.training.errors import device_errors
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.lightning import LightningEnvironment, TorchElasticEnvironment, pl
from albor.training.parallel import lightning_strategy
from albor.training.profile import KernelTable
from albor.training.watchdog import Heartbeat

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16}
"""Of the residual stream; with fp8, feed-forward layers compute in less."""
START = 10
"""How much longer than later steps the first one, which may compile, may take before it counts as hung."""


@dataclass(frozen=True)
class Trained:
    weights: Mapping[str, Tensor]
    """The decoder's state dict after the last step done, whole on rank 0."""
    rank: int
    result: dict[str, Any]
    """val_loss, val_ppl, val_bits_per_byte, initial_val_loss, steps, tokens, seconds (to the last checkpoint),
    tokens_per_second (median), and interrupted: true when a signal ended the run before its last step."""


def decoder_of(model: Model, trainer: Trainer, init: Mapping[str, Tensor] | None) -> Decoder:
    """A decoder to train, with the weights ``init`` (a state dict, float32) or random ones."""
    decoder = Decoder(model, DTYPES[trainer.precision], activation_checkpointing=trainer.activation_checkpointing)
    if init is not None:
        decoder.load_state_dict(init)
    return decoder


def train(job: Job, make: Callable[[Interrupt, Heartbeat], Objective]) -> Trained:
    """Seeds, builds the objective, restores its newest checkpoint, trains to ``job.last_step`` or to a signal.

    Raises TrainingError, and whatever the data raises.
    """
    rank, world = int(os.environ.get("RANK", "0")), job.trainer.world_size
    rng.seed_all(job.seed)
    timeout = job.trainer.hang_after
    heartbeat = Heartbeat(
        job.directory.parent / "heartbeat", rank, world, timeout=timeout, start_timeout=START * timeout
    )
    with device_errors(), heartbeat, Interrupt() as interrupt:
        objective = make(interrupt, heartbeat)
        rng.seed_all(job.seed + rank)  # weights are the same on every rank, dropout is not
        batches = job.train(rank, world)
        found = load_latest(job.directory)
        if found is not None:
            objective.resume(found)
            if objective.state.loader is not None:  # interrupted before step 1
                batches.load_state_dict(objective.state.loader)
            if rank == 0:
                print(f"  goes on from the checkpoint of step {objective.state.step:,}", file=sys.stderr, flush=True)
        # A run whose steps are all done may lack its last validation: one window lets Lightning begin.
        steps = max(1, job.last_step - objective.state.step)
        try:
            with quiet():
                lightning_trainer(job).fit(objective, Windows(batches, grad_accum=job.trainer.grad_accum, steps=steps))
        finally:
            objective.close()
        heartbeat.beat("waiting for the other ranks", objective.state.step)
        parallel.leave()
    return Trained(objective.weights, rank, objective.result())


def lightning_trainer(job: Job) -> pl.Trainer:
    """Lightning's loop, devices and ranks; its logger, checkpoints, bar and summary are off, albor has its own.

    One pass over a sized iterable is the whole run, so Lightning counts nothing that a resume would have to restore.
    """
    trainer = job.trainer
    parallel = trainer.world_size > 1
    profile = [KernelTable(job.directory.parent / "profile.txt", trainer.accelerator)] if trainer.profile else []
    return pl.Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.nodes,
        strategy=lightning_strategy(trainer),
        plugins=[TorchElasticEnvironment() if parallel else LightningEnvironment()],
        precision="32-true",
        deterministic=trainer.deterministic,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=profile,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Lightning from announcing devices, tips and advice about data workers that are not used."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
