"""Rows of tokens: fill-in-the-middle, end of text, best-fit packing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the pack stage alone."""

    name: Literal["pack"] = "pack"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    raise AssertionError


STAGE = Stage(
    name="pack",
    version=1,
    config=Config,
    reads=("data.packed_len", "data.fim_rate", "data.fim_spm_rate", "tokenizer.kind", "seed"),
    label=lambda cfg: f"{cfg.data.name}-{cfg.tokenizer.name}",
    inputs=lambda cfg: {"documents": "prepare", "tokenizer": "tokenizer"},
    run=run,
)
