"""The sections of a model's card, as Markdown. What comes from runs is shown as text, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from albor.data.provenance import text
from albor.report.energy import Spent, total
from albor.report.formats import ABSENT, duration, fact, number, size
from albor.report.model_card import ModelCard, Result

INTENDED = (
    "For research on small models, and for completing Python where a wrong line costs nothing. Not for code that runs "
    "unread, for decisions about people, for advice on security, or for languages other than Python and its English "
    "comments."
)
LIMITS = (
    "A small model: what it writes is often wrong, so read it before you run it. It has learned from public code and "
    "may repeat it, with its mistakes and with text that somebody has rights in. Nobody has tested what it does with "
    "hostile prompts."
)
PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity", "val_ppl", "val_bits_per_byte")
"""Metrics that are no shares."""


def sections(card: ModelCard) -> tuple[str, ...]:
    """In the order of the card; an empty one is left out."""
    return (
        f"# {text(card.name)}",
        _summary(card),
        table(("file", "size"), [[mono(name), said] for name, said in card.files]),
        *_use(card),
        "## Intended use and limits",
        INTENDED,
        LIMITS,
        *_evaluation(card),
        *_made(card),
        *_data(card),
        *_checks(card),
        *_spent(card),
    )


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


PLAIN = ('inputs = tokenizer("def fibonacci(n):\\n", return_tensors="pt")',)
CHAT = (
    'messages = [{"role": "user", "content": "Write a function that doubles a number."}]',
    "inputs = tokenizer.apply_chat_template(",
    '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
    ")",
)


def _use(card: ModelCard) -> Iterator[str]:
    yield "## Use"
    if card.run:
        place = f'model = albor.load("outputs/{_quoted(card.run)}")'
        yield code("import albor", "", place, 'print(model.complete("def fibonacci(n):\\n"))')
        yield "`albor stage=export` writes it for transformers and llama.cpp."
    if card.dtype:
        yield code(
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'name = "PATH"  # this directory, or its name on the Hub',
            "tokenizer = AutoTokenizer.from_pretrained(name)",
            'model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")',
            *(CHAT if card.chat else PLAIN),
            "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))",
        )
    if card.fim and (card.dtype or card.run):
        prefix, suffix, middle = map(_quoted, card.fim)
        yield "It fills in: given what stands before and after a gap, it writes what belongs between."
        yield code(f'prompt = "{prefix}def double(x):\\n    return {suffix}\\n{middle}"')
    if card.gguf:
        yield "With llama.cpp:" if card.fim is None else "With llama.cpp; `/infill` knows the tokens for filling in:"
        yield code(*(f"llama-server --model {_quoted(name)}" for name in card.gguf), language="")


def _evaluation(card: ModelCard) -> Iterator[str]:
    yield "## Evaluation"
    if card.evaluation is None:
        yield "It has not been evaluated: this card has no numbers."
        return
    rounded = [*(["bf16"] if card.dtype == "bf16" else []), *(["GGUF"] if card.dtype and card.gguf else [])]
    of = f", of the weights as trained, before they were rounded to {' and '.join(rounded)}" if rounded else ""
    yield f"Measured by the run {mono(card.evaluation)}{of}. In brackets the 95% interval."
    rows = [
        [text(it.task), text(it.metric), value_of(it), number(it.problems), mono(it.run) if it.run else ABSENT]
        for it in card.results
    ]
    yield table(("task", "metric", "value", "problems", "run"), rows, right=(2, 3))


def value_of(result: Result) -> str:
    """A result as the table has it: a share in percent with its interval, anything else with five digits."""
    if result.metric in PERPLEXITIES:
        return fact(result.value)
    if result.low is None or result.high is None:
        return f"{100 * result.value:.1f}%"
    return f"{100 * result.value:.1f}% ({100 * result.low:.1f}–{100 * result.high:.1f})"


def _made(card: ModelCard) -> Iterator[str]:
    yield "## How it was made"
    if not card.steps:
        yield "No run of albor made it: the weights were given as a directory."
        return
    yield "By these runs, each from those before it. `albor lineage` has the graph, down to the sources."
    rows = [[text(s.stage), mono(s.id), mono(s.digest[:12]) if s.digest else ABSENT, text(s.how)] for s in card.steps]
    yield table(("stage", "run", "SHA-256", "how"), rows)
    if card.gone:
        yield f"Gone, and known by what was recorded of them alone: {', '.join(map(text, card.gone))}."
    if card.teachers:
        yield f"It learned from other models too: {', '.join(map(text, card.teachers))}."
    if card.base_models:
        yield f"On the Hub it comes from {', '.join(map(text, card.base_models))}."
    if card.commit:
        yield f"Made by albor at commit {mono(card.commit)}."
    if card.command:
        yield "The command that made it:"
        yield code(*card.command.splitlines(), language="")


def _data(card: ModelCard) -> Iterator[str]:
    yield "## Data"
    if card.data:
        yield "Python code under these licences; the provenance of the corpus lists its packages."
        rows = [
            [text(row.name or "none"), number(row.packages), number(row.documents), size(row.bytes)]
            for row in card.data
        ]
        yield table(("licence", "packages", "documents", "bytes"), rows, right=(1, 2, 3))
    else:
        why = ": the files of its corpus are gone" if card.gone or card.origins else ""
        yield f"What it was trained on is not recorded here{why}."
    if card.origins:
        yield "It was read from these sources."
        rows = [[text(o.name), mono(o.digest) if o.digest else ABSENT, text(o.known)] for o in card.origins]
        yield table(("source", "digest", "what it is"), rows)


def _checks(card: ModelCard) -> Iterator[str]:
    if card.contracts:
        yield "## Contracts"
        holding = [contract.id for contract in card.contracts if contract.verdict == "holds"]
        yield (
            f"{len(card.contracts)} contracts were checked on the configs of these runs, and {len(holding)} hold of "
            f"each: {', '.join(holding) or 'none'}."
        )
        apart = [it for it in card.contracts if it.verdict != "holds"]
        if apart:
            rows = [[it.id, it.verdict, text(it.said)] for it in apart]
            yield table(("contract", "verdict", "what it says"), rows)
        if card.unchecked:
            yield f"Another version of albor made {', '.join(map(text, card.unchecked))}: not checked."
    if card.predictions:
        yield "## Predictions"
        yield "What albor predicts of its runs, held against this model's lineage and its evaluations."
        rows = [[it.id, it.verdict, text(it.title), text(it.evidence)] for it in card.predictions]
        yield table(("prediction", "verdict", "says", "evidence"), rows)


def _spent(card: ModelCard) -> Iterator[str]:
    yield "## Hardware, time and energy"
    if not card.spent:
        yield "What it took is not recorded here."
        return
    rows = [
        [
            *(text(it.stage), mono(it.id), text(f"{it.devices} × {it.device}"), duration(it.seconds)),
            *(_power(it), kwh(it.kwh)),
        ]
        for it in card.spent
    ]
    whole, grams = total([it.kwh for it in card.spent]), total([it.grams for it in card.spent])
    rows.append(["all", "", "", duration(sum(it.seconds for it in card.spent)), "", kwh(whole)])
    yield table(("stage", "run", "devices", "time", "watts each", "kWh"), rows, right=(3, 4, 5))
    if whole is None or grams is None:
        yield "What its devices draw is not known, so neither are energy and carbon."
        return
    yield (
        f"**An estimate**: {kwh(whole)} kWh and {mass(grams)} of CO2. Device-seconds × watts × PUE "
        f"({_several([it.pue for it in card.spent])}) ÷ 3,600,000, times the carbon intensity of the grid "
        f"({_several([it.carbon_intensity for it in card.spent])} g/kWh). Watts are {_how_known(card.spent)}; the rest "
        "of the machines, and what making them took, is not counted."
    )


def _power(it: Spent) -> str:
    return ABSENT if it.watts is None else f"{number(it.watts, 3)}{' measured' if it.measured else ''}"


def kwh(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}"


def mass(grams: float) -> str:
    return f"{grams / 1000:.3g} kg" if grams >= 1000 else f"{grams:.3g} g"


def _several(values: Sequence[float]) -> str:
    """The one value that all have, or from which to which they go."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _how_known(rows: Sequence[Spent]) -> str:
    measured = sum(row.measured for row in rows)
    if measured == len(rows):
        return "what the devices drew, as their drivers measured it"
    stated = "what is stated for full load, which is more than most runs draw"
    return stated if not measured else f"measured in {measured} of {len(rows)} runs, elsewhere {stated}"


def _quoted(value: str) -> str:
    """Within a string of Python, or a word of a command."""
    return "".join(c if c.isprintable() and c not in "\"'\\`$;& " else "_" for c in value)


def mono(value: str) -> str:
    """Code within a line, and within a table: nothing in it ends the one or the other."""
    return f"`{''.join(c if c.isprintable() and c not in '`|' else '_' for c in value)}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    rule = ["--:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def code(*lines: str, language: str = "python") -> str:
    """A block, which no line of it ends."""
    clean = ("".join(c if c.isprintable() else "\ufffd" for c in line).replace("```", "` ` `") for line in lines)
    return "\n".join((f"```{language}", *clean, "```"))
