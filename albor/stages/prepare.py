"""Documents: read, filter, deduplicate, keep free of benchmarks, split by package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.sources import Source
from albor.stages.base import Context, Facts, Stage, workshop

CORPUS = tuple(
    f"data.{key}" for key in ("source", "filters", "dedup", "max_documents", "max_words", "val_fraction", "held_out")
)
"""What determines the documents; the rest of the section is about rows."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the prepare stage alone."""

    name: Literal["prepare"] = "prepare"
    """The stage's name."""


def identity(cfg: Whole) -> Mapping[str, str]:
    from albor.data.benchmarks import fingerprint as benchmarks
    from albor.data.sources import fingerprint
    from albor.data.versions import INGEST, PARSER, PUBLISH

    return {
        **fingerprint(cfg.data.source),
        **benchmarks(cfg.evals.data_dir),
        "parser": PARSER,
        "steps": f"{INGEST}.{PUBLISH}",
        "order": order(cfg.data.source),
    }


def order(source: Source) -> str:
    """The parts of a mix rank, and a bounded look at packages takes the first; a hash of the config sorts its keys."""
    names = {"mix": "parts", "pypi": "packages"}.get(source.kind)
    return ",".join(getattr(source, names)) if names else ""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.corpus import prepare
    from albor.data.sources.base import expand

    benchmarks = expand(cfg.evals.data_dir) if cfg.evals.data_dir else None
    with workshop(cfg, context) as given:
        return prepare(cfg.data, benchmarks=benchmarks, seed=cfg.seed, **given)


STAGE = Stage(
    name="prepare",
    version=2,
    makes="documents",
    config=Config,
    reads=(*CORPUS, "evals", "seed"),
    label=lambda cfg: cfg.data.name,
    inputs=lambda cfg: {},
    identity=identity,
    run=run,
    resumable=True,
)
