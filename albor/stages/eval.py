"""Perplexity, bits per byte and completions of a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the eval stage alone."""

    name: Literal["eval"] = "eval"
    """The stage's name."""
    of: Text = "pretrain"
    """The stage whose model is measured."""


def run(cfg: Whole, context: Context) -> Facts:
    raise AssertionError


STAGE = Stage(
    name="eval",
    version=1,
    config=Config,
    reads=("eval", "seed"),
    label=lambda cfg: f"{cfg.model.name}-{cfg.eval.name}",
    inputs=lambda cfg: {"model": cfg.stage.of, "rows": "pack", "tokenizer": "tokenizer"},
    run=run,
)
