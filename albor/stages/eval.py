"""Perplexity, bits per byte and completions of a trained model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.runs.files import write_text
from albor.stages.base import Context, Facts, Stage
from albor.stages.pretrain import bytes_per_token


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the eval stage alone."""

    name: Literal["eval"] = "eval"
    """The stage's name."""
    of: Text = "pretrain"
    """The stage whose model is measured."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.parquet import shards
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec
    from albor.evals.perplexity import perplexity
    from albor.evals.samples import complete
    from albor.inference.device import best_device
    from albor.inference.engine import Sampling
    from albor.inference.torch_engine import TorchEngine

    wanted, rows = cfg.eval, context.inputs["rows"]
    engine = TorchEngine.load(context.inputs["model"].path, device=best_device(), batch_size=wanted.batch_size)
    facts: dict[str, Any] = {}
    if "perplexity" in wanted.tasks:
        facts |= perplexity(
            engine,
            Rows(shards(rows.path, "val")),
            limit=wanted.max_rows,
            bytes_per_token=bytes_per_token(rows.facts),
            progress=lambda done, total: context.progress(done, total, "rows"),
        )
    if "samples" in wanted.tasks:
        samples = complete(
            engine,
            Codec.load(context.inputs["tokenizer"].path),
            wanted.prompts,
            Sampling(temperature=wanted.temperature, top_p=wanted.top_p),
            max_new_tokens=wanted.max_new_tokens,
            seed=cfg.seed,
        )
        write_text(context.out / "samples.jsonl", "".join(f"{json.dumps(sample)}\n" for sample in samples))
        facts["samples"] = len(samples)
    write_text(context.out / "eval.json", json.dumps(facts, indent=1))
    return facts


STAGE = Stage(
    name="eval",
    version=3,
    makes="evaluation",
    config=Config,
    reads=("eval", "seed"),
    label=lambda cfg: f"{cfg.model.name}-{cfg.eval.name}",
    inputs=lambda cfg: {"model": cfg.stage.of, "rows": "pack", "tokenizer": "tokenizer"},
    run=run,
)
