"""Documents: read, filter, deduplicate, split by package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the prepare stage alone."""

    name: Literal["prepare"] = "prepare"
    """The stage's name."""


def identity(cfg: Whole) -> Mapping[str, str]:
    from albor.data.sources import fingerprint

    return fingerprint(cfg.data.source)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.corpus import prepare

    return prepare(
        cfg.data.source,
        filters=cfg.data.filters,
        val_fraction=cfg.data.val_fraction,
        seed=cfg.seed,
        max_documents=cfg.data.max_documents,
        out=context.out,
        progress=lambda n: context.progress(n, 0, "documents"),
    )


STAGE = Stage(
    name="prepare",
    version=1,
    makes="documents",
    config=Config,
    reads=("data.source", "data.filters", "data.val_fraction", "data.max_documents", "seed"),
    label=lambda cfg: cfg.data.name,
    inputs=lambda cfg: {},
    identity=identity,
    run=run,
)
