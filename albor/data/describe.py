"""The card of a packed corpus: what the prepare stage counted, with the tokens that packing made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from albor.data.card import DataCard, Lengths, SourceRow, StepRow
from albor.data.pack import Packed
from albor.data.publish import LENGTHS, SOURCES, STEPS, SUMMED

CARD = "card.json"
KEYS = ("source", "package", "version", "licence", "split")


def describe(
    documents: Path,
    packed: Packed,
    *,
    name: str,
    tokenizer: str,
    inputs: Mapping[str, str],
    benchmarks: Sequence[str] | None,
) -> DataCard:
    """The card; of documents that no prepare stage of albor counted it knows the tokens alone.

    ``benchmarks`` are those that the documents were searched for; None when that is not known.
    """
    searched = "not known" if benchmarks is None else ", ".join(benchmarks) or "none: evals.data_dir was not set"
    counted = [SourceRow.from_json(row) for row in _read(documents / SOURCES, [])]
    summed = {row.source for row in counted if row.package == SUMMED}
    tokens: Counter[tuple[str, ...]] = Counter()
    for row in packed.tokens:
        one = row | {"package": SUMMED, "version": ""} if row["source"] in summed else row
        tokens[tuple(one[key] for key in KEYS)] += row["tokens"]
    known = [replace(row, tokens=tokens.pop(tuple(getattr(row, key) for key in KEYS), 0)) for row in counted]
    rest = [
        SourceRow(**dict(zip(KEYS, key, strict=True)), documents=0, bytes=0, tokens=count)
        for key, count in sorted(tokens.items())
    ]
    return DataCard(
        name=name,
        tokenizer=tokenizer,
        inputs=dict(inputs),
        sources=known + rest,
        steps=[StepRow.from_json(row) for row in _read(documents / STEPS, [])],
        shards=packed.shards,
        lengths=Lengths.from_json(_read(documents / LENGTHS, {"edges": [], "train": [], "val": []})),
        facts=packed.facts | {"kept free of benchmarks": searched},
    )


def _read(path: Path, absent: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else absent
