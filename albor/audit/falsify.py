"""Judging the predictions on the runs of a store, and the report of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from albor.audit.predictions import PREDICTIONS, Judgment, Material, Prediction
from albor.audit.predictions.base import PREFIX, Verdict
from albor.config.suggest import nearest
from albor.errors import AlborError
from albor.runs.checkpoints import MODEL
from albor.runs.manifest import NAME
from albor.runs.store import Store

Judged = Sequence[tuple[Prediction, Judgment]]


def chosen(words: Sequence[str]) -> list[Prediction]:
    """The predictions of these ids (FALSIFY-ALBOR-003, 003 or 3); all when none is given. Raises AlborError."""
    return [find(word) for word in words] or [PREDICTIONS[number] for number in sorted(PREDICTIONS)]


def find(word: str) -> Prediction:
    known = {prediction.id: prediction for prediction in PREDICTIONS.values()}
    digits = word.upper().removeprefix(PREFIX)
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    if number in PREDICTIONS:
        return PREDICTIONS[number]
    guess = nearest(word, known) if len(word) > len(PREFIX) // 2 else None
    listed = ", ".join(f"{number:03d}" for number in sorted(PREDICTIONS))
    fix = f"did you mean {guess}?" if guess else f"the predictions are {listed}; a run is named by run=RUN"
    raise AlborError(f"'{word}' is no prediction", fix)


def material(root: Path, names: Iterable[str]) -> Material:
    """What to judge on: the runs of the store, or those that are named. Raises AlborError for a name that is none."""
    store = Store(root)
    every = store.runs()
    runs, models = [], []
    for name in names:
        if (Path(name) / MODEL).is_file() and not (Path(name) / NAME).exists():
            models.append(Path(name))
        else:
            runs.append(store.find(name))
    if not runs and not models:
        return Material(root, every, store=every)
    runs.sort(key=lambda run: run.manifest.created)
    return Material(root, runs, named=True, models=models, store=every)


def judge(predictions: Iterable[Prediction], given: Material) -> Judged:
    return [(prediction, prediction.judge(given)) for prediction in predictions]


def as_json(judged: Judged) -> list[dict[str, Any]]:
    return [
        {"id": prediction.id, "title": prediction.title, "condition": prediction.condition, **asdict(judgment)}
        for prediction, judgment in judged
    ]


def counts(judged: Judged) -> str:
    return ", ".join(f"{count} {verdict.lower()}" for verdict, count in tally(judged).items())


def tally(judged: Judged) -> dict[str, int]:
    """Verdict to how many predictions have it."""
    return {verdict: sum(judgment.verdict == verdict for _, judgment in judged) for verdict in get_args(Verdict)}


def markdown(judged: Judged) -> str:
    """The report as a page of Markdown."""
    from albor.data.provenance import text

    lines = ["# Predictions of albor, and what its runs say", "", f"{counts(judged)}.", ""]
    for prediction, judgment in judged:
        lines += [
            f"## {prediction.id}: {prediction.title}",
            "",
            f"**{judgment.verdict}**: {text(judgment.evidence)}.",
            "",
            f"- prediction: {text(prediction.condition)}",
        ]
        lines += [f"- {text(key)}: {text(str(value))}" for key, value in flat(judgment.numbers)]
        lines += [f"- would be tested by: `{judgment.command}`"] if judgment.command else []
        lines.append("")
    return "\n".join(lines)


def page(judged: Judged) -> str:
    """The report as one HTML document that needs nothing else."""
    from albor.report.shell import Tile, document

    first, *others = tally(judged).items()
    return document(
        "falsify.html.j2",
        styles=("card.css",),
        scripts=(),
        hero=Tile(first[0].lower(), str(first[1]), f"of {len(judged)} predictions"),
        figures=[Tile(verdict.lower(), str(count)) for verdict, count in others],
        judged=[(prediction, judgment, list(flat(judgment.numbers))) for prediction, judgment in judged],
    )


def flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}: ")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)
