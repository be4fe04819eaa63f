"""A vocabulary learned from the training documents, or one that exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.tokenizer import HfTokenizer
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the tokenizer stage alone."""

    name: Literal["tokenizer"] = "tokenizer"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    raise AssertionError


STAGE = Stage(
    name="tokenizer",
    version=1,
    config=Config,
    reads=("tokenizer",),
    label=lambda cfg: cfg.tokenizer.name,
    inputs=lambda cfg: {} if isinstance(cfg.tokenizer, HfTokenizer) else {"documents": "prepare"},
    run=run,
)
