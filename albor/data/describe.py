"""The card of a packed corpus: what the prepare stage counted, with the tokens that packing made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.data.card import DataCard, Lengths, SourceRow, StepRow
from albor.data.pack import Packed
from albor.data.publish import LENGTHS, SOURCES, STEPS
from albor.data.tally import Tally

CARD = "card.json"


def describe(
    documents: Path,
    packed: Packed,
    *,
    name: str,
    tokenizer: str,
    inputs: Mapping[str, str],
    benchmarks: Sequence[str] | None,
    copies: Mapping[str, int],
) -> DataCard:
    """The card; of documents that no prepare stage of albor counted it knows the tokens alone.

    ``benchmarks`` are those that the documents were searched for; None when that is not known.
    """
    searched = "not known" if benchmarks is None else ", ".join(benchmarks) or "none: evals.data_dir was not set"
    facts = packed.facts | {"kept free of benchmarks": searched}
    if copies:
        facts["training copies"] = ", ".join(f"{part} ×{count}" for part, count in copies.items())
    tally = Tally(SourceRow.from_json(row) for row in _read(documents / SOURCES, []))
    for row in packed.sources:
        tally.add_row(row)
    return DataCard(
        name=name,
        tokenizer=tokenizer,
        inputs=dict(inputs),
        sources=tally.rows(),
        steps=[StepRow.from_json(row) for row in _read(documents / STEPS, [])],
        shards=packed.shards,
        lengths=Lengths.from_json(_read(documents / LENGTHS, {"edges": [], "train": [], "val": []})),
        facts=facts,
    )


def _read(path: Path, absent: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else absent
