"""A model's card: what the Hub reads at its head, and what people read below. The caller measured every number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from albor.config.schema.model import Model
from albor.data.provenance import text
from albor.report.formats import fact, number, size

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

TASK, TASK_NAME = "text-generation", "Text Generation"
LIMITS = (
    "A small model: what it writes is often wrong, so read it before you run it. It has learned from public code and "
    "may repeat it."
)
PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity", "val_ppl", "val_bits_per_byte")
"""Metrics that are no shares."""


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


@dataclass(frozen=True)
class Step:
    """One run of those that made the model."""

    stage: str
    id: str
    how: str


@dataclass(frozen=True)
class Licence:
    """What was trained on under one licence."""

    name: str
    packages: int
    documents: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Everything there is to say about an exported model; what is None or empty is not known, and said to be so."""

    name: str
    stage: str | None
    """What made it."""
    parameters: int | None
    shape: Model | None
    files: Sequence[tuple[str, str]]
    """Name and size."""
    dtype: str | None
    """Of the weights; None when there is but a GGUF file."""
    gguf: Sequence[str] = ()
    """GGUF files."""
    chat: bool = False
    fim: tuple[str, str, str] | None = None
    """Names of the tokens before the prefix, the suffix and what is filled in."""
    licence: str | None = None
    base_models: Sequence[str] = ()
    relation: str | None = None
    """What it is to those: finetune, merge or quantized."""
    steps: Sequence[Step] = ()
    teachers: Sequence[str] = ()
    data: Sequence[Licence] = ()
    evaluation: str | None = None
    """The run that measured it; None when nothing was measured."""
    results: Sequence[Result] = field(default=())


def render(card: ModelCard) -> str:
    """README.md: the metadata as YAML between lines of dashes, then Markdown."""
    sections = (
        f"# {text(card.name)}",
        _summary(card),
        _table(("file", "size"), [[f"`{name}`", said] for name, said in card.files]),
        *_use(card),
        *_made(card),
        *_data(card),
        *_evaluation(card),
        "## Limits",
        LIMITS,
    )
    return f"---\n{metadata(card).to_yaml()}\n---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


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
        model_name=on_one_line(card.name),
        eval_results=results or None,
        **more,
    )


def on_one_line(value: str) -> str:
    """Text on one line: what YAML and the Hub's client read back as it was."""
    return "".join(c if c.isprintable() else "\ufffd" for c in value)


def _summary(card: ModelCard) -> str:
    if (shape := card.shape) is None:
        form = ""
    else:
        form = (
            f" in {shape.num_hidden_layers} layers of width {number(shape.hidden_size)}, with "
            f"{shape.num_attention_heads} heads ({shape.num_key_value_heads} for keys and values), "
            f"{number(shape.vocab_size)} tokens and a context of {number(shape.max_position_embeddings)}"
        )
    made = f", made by the stage `{card.stage}` of albor" if card.stage else ""
    licence = (
        f"Its weights are licensed under {text(card.licence)}."
        if card.licence
        else "Under which licence its weights are given has not been said."
    )
    parameters = f"{number(card.parameters)} parameters" if card.parameters else "parameters that nobody has counted"
    return f"A decoder-only language model of Python code with {parameters}{form}{made}. {licence}"


def _use(card: ModelCard) -> Iterator[str]:
    yield "## Use"
    if card.dtype:
        yield _code(
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'name = "PATH"  # this directory, or its name on the Hub',
            "tokenizer = AutoTokenizer.from_pretrained(name)",
            'model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")',
            *(CHAT if card.chat else PLAIN),
            "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))",
        )
    if card.fim and card.dtype:
        prefix, suffix, middle = card.fim
        yield "It fills in: given what stands before and after a gap, it writes what belongs between."
        yield _code(f'prompt = "{prefix}def double(x):\\n    return {suffix}\\n{middle}"')
    if card.gguf:
        yield "With llama.cpp:" if card.fim is None else "With llama.cpp; `/infill` knows the tokens for filling in:"
        yield _code(*(f"llama-server --model {name}" for name in card.gguf), language="")


PLAIN = ('inputs = tokenizer("def fibonacci(n):\\n", return_tensors="pt")',)
CHAT = (
    'messages = [{"role": "user", "content": "Write a function that doubles a number."}]',
    "inputs = tokenizer.apply_chat_template(",
    '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
    ")",
)


def _made(card: ModelCard) -> Iterator[str]:
    yield "## How it was made"
    if not card.steps:
        yield "No run of albor made it: the weights were given as a directory."
        return
    yield "By these runs, each from those before it."
    yield _table(("stage", "run", "how"), [[step.stage, f"`{step.id}`", text(step.how)] for step in card.steps])
    if card.teachers:
        yield f"It learned from other models too: {', '.join(map(text, card.teachers))}."
    if card.base_models:
        yield f"On the Hub it comes from {', '.join(map(text, card.base_models))}."


def _data(card: ModelCard) -> Iterator[str]:
    yield "## Data"
    if not card.data:
        yield "What it was trained on is not recorded here."
        return
    yield "Python code under these licences; the provenance of the corpus lists its packages."
    rows = [
        [text(row.name or "none"), number(row.packages), number(row.documents), size(row.bytes)] for row in card.data
    ]
    yield _table(("licence", "packages", "documents", "bytes"), rows, right=(1, 2, 3))


def _evaluation(card: ModelCard) -> Iterator[str]:
    yield "## Evaluation"
    if card.evaluation is None:
        yield "It has not been evaluated: this card has no numbers."
        return
    rounded = [*(["bf16"] if card.dtype == "bf16" else []), *(["GGUF"] if card.dtype and card.gguf else [])]
    of = f", of the weights as trained, before they were rounded to {' and '.join(rounded)}" if rounded else ""
    yield f"Measured by the run `{card.evaluation}`{of}. In brackets the 95% interval."
    rows = [
        [text(result.task), text(result.metric), _value(result), number(result.problems)] for result in card.results
    ]
    yield _table(("task", "metric", "value", "problems"), rows, right=(2, 3))


def _value(result: Result) -> str:
    if result.metric in PERPLEXITIES:
        return fact(result.value)
    if result.low is None or result.high is None:
        return f"{100 * result.value:.1f}%"
    return f"{100 * result.value:.1f}% ({100 * result.low:.1f}–{100 * result.high:.1f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    rule = ["--:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def _code(*lines: str, language: str = "python") -> str:
    return "\n".join((f"```{language}", *lines, "```"))
