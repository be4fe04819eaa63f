"""Rows of tokens: fill-in-the-middle, end of text, best-fit packing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.runs.files import sha256_file
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the pack stage alone."""

    name: Literal["pack"] = "pack"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.pack import pack
    from albor.data.tokenizer import Codec

    tokenizer = context.inputs["tokenizer"].path
    facts = pack(
        context.inputs["documents"].path,
        Codec.load(tokenizer),
        row_len=cfg.data.packed_len,
        fim_rate=cfg.data.fim_rate,
        fim_spm_rate=cfg.data.fim_spm_rate,
        seed=cfg.seed,
        out=context.out,
        progress=lambda n: context.progress(n, 0, "documents"),
    )
    return facts | {"tokenizer_sha256": sha256_file(tokenizer / "tokenizer.json")}


STAGE = Stage(
    name="pack",
    version=1,
    makes="rows",
    config=Config,
    reads=("data.packed_len", "data.fim_rate", "data.fim_spm_rate", "seed"),
    label=lambda cfg: f"{cfg.data.name}-{cfg.tokenizer.name}",
    inputs=lambda cfg: {"documents": "prepare", "tokenizer": "tokenizer"},
    run=run,
)
