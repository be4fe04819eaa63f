"""Drives an objective with Lightning's Trainer, from its newest checkpoint if it has one."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training import checkpoint, rng
from albor.training.base import Objective
from albor.training.batches import Windows
from albor.training.errors import TrainingError
from albor.training.interrupt import Interrupt
from albor.training.job import Job
from albor.training.profile import KernelTable
from albor.training.progress import Progress

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Trained:
    model: Decoder
    """The weights after the last step done."""
    result: dict[str, Any]
    """val_loss, val_ppl, val_bits_per_byte, initial_val_loss, steps, tokens, seconds, tokens_per_second (median), and
    interrupted: true when a signal ended the run before its last step."""


def computing_dtype(trainer: Trainer) -> torch.dtype:
    if trainer.precision not in DTYPES:
        raise TrainingError(
            f"trainer.precision={trainer.precision} cannot be trained with", help=f"use one of {', '.join(DTYPES)}"
        )
    return DTYPES[trainer.precision]


def train(job: Job, make: Callable[[Interrupt], Objective]) -> Trained:
    """Seeds, builds the objective, restores its newest checkpoint, trains to ``job.total_steps`` or to a signal.

    Raises TrainingError, and whatever the data raises.
    """
    rng.seed_all(job.seed)
    with Interrupt() as interrupt:
        objective = make(interrupt)
        batches = job.train(int(os.environ.get("RANK", "0")), job.trainer.world_size)
        found = checkpoint.load_latest(job.directory)
        if found is not None:
            objective.decoder.load_state_dict(found.model)
            objective.state, objective.resume_from = Progress.from_json(found.state), found
            if objective.state.loader is not None:  # interrupted before step 1
                batches.load_state_dict(objective.state.loader)
        steps = job.total_steps - objective.state.step
        if steps > 0:
            with quiet():
                lightning_trainer(job).fit(objective, Windows(batches, grad_accum=job.trainer.grad_accum, steps=steps))
    return Trained(objective.decoder, objective.result())


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
        strategy="ddp" if parallel else "auto",
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
