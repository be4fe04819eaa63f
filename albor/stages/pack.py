"""Rows of tokens: fill-in-the-middle, end of text, best-fit packing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.runs.files import sha256_file, write_text
from albor.stages.base import Context, Facts, Input, Stage, workshop


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the pack stage alone."""

    name: Literal["pack"] = "pack"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.describe import CARD, describe
    from albor.data.fim import FimMix
    from albor.data.pack import pack
    from albor.data.provenance import provenance
    from albor.report.data_card import card_page

    documents, tokenizer = context.inputs["documents"], context.inputs["tokenizer"]
    with workshop(cfg, context) as given:
        packed = pack(
            documents.path,
            tokenizer.path,
            row_len=cfg.data.packed_len,
            fim=FimMix(
                rate=cfg.data.fim_rate,
                spm_rate=cfg.data.fim_spm_rate,
                line_rate=cfg.data.fim_line_rate,
                min_tokens=cfg.data.fim_min_tokens,
            ),
            seed=cfg.seed,
            **given,
        )
    card = describe(
        documents.path,
        packed,
        name=label(documents, "data"),
        tokenizer=label(tokenizer, "tokenizer"),
        inputs={name: given.id for name, given in context.inputs.items()},
        benchmarks=documents.facts.get("benchmarks"),
        copies=copies(documents),
    )
    write_text(context.out / CARD, json.dumps(card.to_json(), indent=1))
    write_text(context.out / "PROVENANCE.md", provenance(card))
    write_text(context.out / "card.html", card_page(card))
    return packed.facts | {"tokenizer_sha256": sha256_file(tokenizer.path / "tokenizer.json")}


def label(given: Input, section: str) -> str:
    """What the input was called when it was made."""
    return str(given.config[section]["name"]) if given.config else given.id


def copies(documents: Input) -> dict[str, int]:
    """How often the training documents of each part of a mix are repeated."""
    parts = documents.config["data"]["source"].get("parts", {}) if documents.config else {}
    return {name: part["copies"] for name, part in parts.items()}


def identity(cfg: Whole) -> Mapping[str, str]:
    from albor.data.versions import ROWS, TOKENIZE

    return {"steps": f"{TOKENIZE}.{ROWS}"}


STAGE = Stage(
    name="pack",
    version=2,
    makes="rows",
    config=Config,
    reads=("data.packed_len", *(f"data.fim_{key}" for key in ("rate", "spm_rate", "line_rate", "min_tokens")), "seed"),
    label=lambda cfg: f"{cfg.data.name}-{cfg.tokenizer.name}",
    inputs=lambda cfg: {"documents": "prepare", "tokenizer": "tokenizer"},
    run=run,
    identity=identity,
    resumable=True,
)
