"""A model's card: what the Hub reads at its head, and what people read below. The caller measured every number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.model import Model
from albor.report.energy import Spent

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

TASK, TASK_NAME = "text-generation", "Text Generation"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
Verdict = Literal["holds", "let through", "warns", "broken"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number of an evaluation, as its JSON has it."""

    task: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    """Ends of its 95% interval."""
    problems: int | None = None
    dataset: str | None = None
    """The Hub's name of what it was measured on; None takes the task's."""
    run: str | None = None
    """The evaluation's id."""


@dataclass(frozen=True)
class Step:
    """One run of those that made the model."""

    stage: str
    id: str
    how: str
    digest: str | None = None
    """SHA-256 of its artifact."""


@dataclass(frozen=True)
class Licence:
    """What was trained on under one licence."""

    name: str
    packages: int
    documents: int
    bytes: int


@dataclass(frozen=True)
class Origin:
    """A source of what it was trained on."""

    name: str
    digest: str | None
    known: str
    """What it gave, and what the digest is taken over."""


@dataclass(frozen=True)
class Contract:
    """A contract that its runs were checked against."""

    id: str
    verdict: Verdict
    said: str = ""
    """What it says where it does not simply hold."""


@dataclass(frozen=True)
class Predicted:
    """A prediction of albor's, as the runs have it."""

    id: str
    title: str
    verdict: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything there is to say about a model; what is None or empty is not known, and said to be so."""

    name: str
    stage: str | None
    """What made it."""
    parameters: int | None
    shape: Model | None
    files: Sequence[tuple[str, str]]
    """Name and size."""
    dtype: str | None
    """Of exported weights, which transformers loads; None where there are none."""
    gguf: Sequence[str] = ()
    """GGUF files."""
    run: str | None = None
    """STAGE/LABEL-ID of the run that made it, where the card is of that run and not of an export."""
    chat: bool = False
    fim: tuple[str, str, str] | None = None
    """Names of the tokens before the prefix, the suffix and what is filled in."""
    licence: str | None = None
    base_models: Sequence[str] = ()
    relation: str | None = None
    """What it is to those: finetune, merge or quantized."""
    datasets: Sequence[str] = ()
    """On the Hub."""
    steps: Sequence[Step] = ()
    gone: Sequence[str] = ()
    """Runs that it was made from and that are no more."""
    teachers: Sequence[str] = ()
    data: Sequence[Licence] = ()
    origins: Sequence[Origin] = ()
    evaluation: str | None = None
    """The run that measured it, or several; None when nothing was measured."""
    results: Sequence[Result] = field(default=())
    contracts: Sequence[Contract] = ()
    unchecked: Sequence[str] = ()
    """Runs whose configs are another albor's, so that its contracts cannot be asked."""
    predictions: Sequence[Predicted] = ()
    spent: Sequence[Spent] = ()
    commit: str | None = None
    """Of albor's code, with a word where it had changes."""
    command: str | None = None
    """That made it."""


def render(card: ModelCard) -> str:
    """README.md: the metadata as YAML between lines of dashes, then Markdown."""
    from albor.report.card_sections import sections

    return f"---\n{metadata(card).to_yaml()}\n---\n\n" + "\n\n".join(filter(None, sections(card))) + "\n"


def metadata(card: ModelCard) -> ModelCardData:
    """What stands at the head of the card."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            task_name=TASK_NAME,
            dataset_type=on_one_line(result.dataset or result.task),
            dataset_name=on_one_line(result.task),
            metric_type=on_one_line(result.metric),
            metric_value=result.value,
        )
        for result in card.results
    ]
    tags = ["python", "code", "albor", *(["fill-in-the-middle"] if card.fim else []), *(["gguf"] if card.gguf else [])]
    more: dict[str, Any] = {"base_model_relation": card.relation} if card.base_models and card.relation else {}
    return ModelCardData(
        language=["code"],
        license=card.licence and on_one_line(card.licence),
        library_name="transformers" if card.dtype else None,
        pipeline_tag=TASK,
        tags=tags,
        base_model=list(map(on_one_line, card.base_models)) or None,
        datasets=[name for name in card.datasets if HUB_NAME.fullmatch(name)] or None,
        model_name=on_one_line(card.name),
        eval_results=results or None,
        **more,
    )


def on_one_line(value: str) -> str:
    """Text on one line: what YAML and the Hub's client read back as it was."""
    return "".join(c if c.isprintable() else "\ufffd" for c in value)
