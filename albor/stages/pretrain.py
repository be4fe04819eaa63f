"""A base model trained from scratch, or from ``init_from``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.contracts.base import Case
from albor.contracts.memory import checkpoint_bytes, training_bytes
from albor.stages.base import Context, Cost, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the pretrain stage alone."""

    name: Literal["pretrain"] = "pretrain"
    """The stage's name."""


def cost(cfg: Whole, inputs: Mapping[str, Facts]) -> Cost:
    budget = Case(cfg, "pretrain", inputs).budget
    flops = float(budget.total_tokens * cfg.model.flops_per_token(cfg.data.seq_len))
    peak = getattr(cfg.hardware.peak_flops, cfg.trainer.precision) or 0.0
    speed = peak * cfg.hardware.mfu * cfg.trainer.world_size
    return Cost(
        parameters=cfg.model.num_parameters,
        tensors=cfg.model.num_tensors,
        tokens=budget.total_tokens,
        flops=flops,
        memory=training_bytes(cfg.model, cfg.trainer, cfg.data.seq_len),
        disk=checkpoint_bytes(cfg.model),
        seconds=flops / speed if speed else None,
    )


def run(cfg: Whole, context: Context) -> Facts:
    raise AssertionError


STAGE = Stage(
    name="pretrain",
    version=1,
    config=Config,
    reads=("model", "data.seq_len", "optim", "trainer", "seed", "init_from"),
    label=lambda cfg: cfg.model.name,
    inputs=lambda cfg: {"rows": "pack", "tokenizer": "tokenizer"},
    run=run,
    cost=cost,
    resumable=True,
    distributed=True,
)
