"""One page about a trained and evaluated model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the report stage alone."""

    name: Literal["report"] = "report"
    """The stage's name."""
    of: Text = "pretrain"
    """The stage whose training is shown."""


def run(cfg: Whole, context: Context) -> Facts:
    raise AssertionError


STAGE = Stage(
    name="report",
    version=1,
    config=Config,
    reads=(),
    label=lambda cfg: cfg.model.name,
    inputs=lambda cfg: {"evaluation": "eval", "model": cfg.stage.of},
    run=run,
)
