"""The corpus: what is mixed, held out, compared and capped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from albor.config.schema.sources import FilesSource, HubSource, Leaf, MixSource, PypiSource, Source, StdlibSource
from albor.config.suggest import nearest
from albor.contracts.base import Case, Found, contract

CAUGHT = 0.8
"""Share of the pairs just at the threshold that banding should make candidates."""
SHA256 = re.compile(r"[0-9a-f]{64}")
UNKNOWN = "unknown"
"""What a document without a known licence has for one."""


@contract(
    "C-DATA-005",
    "Some documents are held out",
    formula="0 < val_fraction < 1, or held_out names packages",
    history="Without them no perplexity means anything.",
    stages=("prepare",),
)
def held_out(case: Case) -> Iterator[Found]:
    data = case.cfg.data
    if not data.held_out and not 0 < data.val_fraction < 1:
        message = f"a val_fraction of {data.val_fraction:g} leaves nothing to validate or nothing to train on"
        yield "error", "data.val_fraction", message, "data.val_fraction=0.08, or name packages in data.held_out"


@contract(
    "C-DATA-006",
    "A corpus keeps to its word cap",
    formula="words of the training split ≤ data.max_words",
    history="BabyLM's tracks are defined by what a model has read: 10M or 100M words. A corpus over the cap is "
    "another task. Words are runs without white space.",
    stages=("tokenizer", "pack"),
)
def word_cap(case: Case) -> Iterator[Found]:
    documents = case.inputs.get("documents", {})
    caps = [c.data.max_words for c in (case.cfg, case.planned.get("documents", case.cfg)) if c.data.max_words]
    words, cap = documents.get("words"), min(caps, default=None)
    if cap and documents and words is None:
        message = f"the words of the documents were not counted, and the cap is {cap:,}"
        yield "error", "data.max_words", message, "let the documents be built, or give a run that was made with a cap"
    elif words and cap and words["train"] > cap:
        message = f"the training split has {words['train']:,} words, the cap is {cap:,}"
        yield "error", "data.max_words", message, "take a smaller source, or lower data.max_documents"


@contract(
    "C-DATA-007",
    "A mix is weighted wholly or not at all",
    formula="parts not empty; every part has a weight, or none has",
    stages=("prepare",),
)
def weights(case: Case) -> Iterator[Found]:
    source = case.cfg.data.source
    if not isinstance(source, MixSource):
        return
    without = [name for name, part in source.parts.items() if part.weight is None]
    if not source.parts:
        yield "error", "data.source.parts", "the mix has no part", "name at least one: data.source.parts.NAME.source=…"
    elif 0 < len(without) < len(source.parts):
        message = f"some parts have a weight and {', '.join(without)} {'has' if len(without) == 1 else 'have'} none"
        yield "error", f"data.source.parts.{without[0]}.weight", message, "give every part a weight, or no part"


@contract(
    "C-DATA-008",
    "Near duplicates at the threshold are found",
    formula=f"1 − (1 − threshold^rows)^bands ≥ {CAUGHT}",
    history="25 bands of 10 rows, used elsewhere, miss half of the pairs whose similarity is 0.7; 32 of 8 find 85%.",
    stages=("prepare",),
)
def banding(case: Case) -> Iterator[Found]:
    dedup = case.cfg.data.dedup
    found = 1 - (1 - dedup.threshold**dedup.rows) ** dedup.bands
    if dedup.near and found < CAUGHT:
        message = (
            f"{dedup.bands} bands of {dedup.rows} rows find {found:.0%} of the pairs of similarity {dedup.threshold:g}"
        )
        enough = math.ceil(math.log(1 - CAUGHT) / math.log(1 - dedup.threshold**dedup.rows))
        yield "warning", "data.dedup.bands", message, f"data.dedup.bands={enough}, or fewer rows a band"


@contract(
    "C-DATA-009",
    "Archives are pinned",
    formula="sha256 of every package is 64 hexadecimal digits",
    history="A version can be uploaded again under another file; only the bytes say what was trained on.",
    stages=("prepare",),
)
def pins(case: Case) -> Iterator[Found]:
    for _, source in _leaves(case.cfg.data.source):
        if isinstance(source, PypiSource):
            for name, archive in source.packages.items():
                if not SHA256.fullmatch(archive.sha256):
                    message = f"the pin of {name} is no SHA-256: '{archive.sha256}'"
                    fix = "copy it from the package index: 64 digits 0-9, a-f"
                    yield "error", f"data.source.packages.{name}.sha256", message, fix


@contract(
    "C-DATA-010",
    "Licences are stated as the filter knows them",
    formula="a source's licence ∈ filters.licences; rows without licence and licence_column need unknown there",
    history="Documents of a licence that is not listed are dropped: of a source that calls it 'Apache 2.0', all are.",
    stages=("prepare",),
    needs=("C-DATA-012",),
)
def stated_licences(case: Case) -> Iterator[Found]:
    allowed = case.cfg.data.filters.licences
    for path, source in _leaves(case.cfg.data.source):
        key = f"{path}.licence"
        if isinstance(source, StdlibSource | PypiSource):
            continue
        if isinstance(source, FilesSource | HubSource) and source.licence is None:
            if source.licence_column is None and UNKNOWN not in allowed:
                message = "nothing says the documents' licence, and data.filters.licences does not list 'unknown'"
                yield "error", key, message, f"{key}=MIT, or name the column that says it: {path}.licence_column=…"
        elif source.licence not in allowed:
            message = f"every document is of the licence '{source.licence}', which data.filters.licences does not list"
            yield "error", key, message, _other_licence(key, str(source.licence), allowed)


def _other_licence(key: str, stated: str, allowed: tuple[str, ...]) -> str:
    near = nearest(stated, allowed)
    return (
        f"{key}={near}"
        if near
        else f"add it to data.filters.licences if it may be trained on, or write {key} as SPDX does"
    )


def _leaves(source: Source) -> list[tuple[str, Leaf]]:
    """Every source that is no mix, with its path in the config."""
    if isinstance(source, MixSource):
        return [(f"data.source.parts.{name}.source", part.source) for name, part in source.parts.items()]
    return [("data.source", source)]


@contract(
    "C-DATA-011",
    "There is something to validate on",
    formula="validation documents > 0, validation rows > 0",
    history="A corpus of one document has no other to hold out; training on it ended at its first validation.",
    stages=("pack", "pretrain"),
    needs=("C-DATA-005",),
)
def validates(case: Case) -> Iterator[Found]:
    documents = case.inputs.get("documents", {}).get("documents", {})
    if documents.get("val") == 0 or case.inputs.get("rows", {}).get("val_sequences") == 0:
        message = "the corpus has no validation document"
        yield "error", "data.val_fraction", message, "take a source of two packages or files at least, or hold one out"


@contract(
    "C-DATA-012",
    "The filters let something through",
    formula="min_characters ≤ max_characters; licences not empty",
    stages=("prepare",),
)
def passable(case: Case) -> Iterator[Found]:
    filters = case.cfg.data.filters
    if filters.min_characters > filters.max_characters:
        message = (
            f"no document has at least {filters.min_characters:,} and at most {filters.max_characters:,} characters"
        )
        yield "error", "data.filters.min_characters", message, f"data.filters.min_characters={filters.max_characters}"
    if not filters.licences:
        yield "error", "data.filters.licences", "no licence is allowed", "name those that are, or leave the key out"
