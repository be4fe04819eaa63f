"""What finished runs say of themselves, read off their manifests for a model's card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.report.formats import fact
from albor.report.model import Scalar, Score
from albor.report.model_card import Licence, Result, Step
from albor.report.sources import rows
from albor.runs.manifest import Manifest

Runs = Sequence[tuple[Path, Manifest]]
"""Run directories and their manifests, inputs first."""
FIGURES: Mapping[str, tuple[str, ...]] = {
    "prepare": ("documents train", "packages train"),
    "tokenizer": ("vocab_size",),
    "pack": ("num_sequences", "tokens"),
    "instructions": ("examples", "learnt_tokens"),
}
OF_MODELS = ("method", "models", "steps", "tokens", "parameters", "kind")
"""What a stage's runs say that a card repeats; of a stage without an entry, what models say."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "pretrain": ("optim.kind", "optim.lr"),
    "distill": ("distill.divergence", "distill.alpha", "distill.temperature", "optim.lr"),
    "finetune": ("finetune.kind", "optim.lr"),
}
"""Keys of their configs that it repeats too."""
MEASURES = ("val_ppl", "val_bits_per_byte")
"""What an evaluation says of held-out rows."""
FROM_TEACHERS = ("distill", "teacher_logits")


def counts(facts: Mapping[str, Any]) -> dict[str, Scalar]:
    """Facts worth a glance, flat: {"documents": {"train": 1, "val": 2}} becomes documents train, documents val."""
    flat: dict[str, Scalar] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            flat |= {f"{key} {k}": v for k, v in value.items() if isinstance(v, (int, float, str))}
        elif isinstance(value, (int, float, str)):
            flat[key] = value
    return flat


def steps(runs: Runs) -> list[Step]:
    """Each run with what it did."""
    return [Step(run.stage, run.id, how(run), run.digest) for _, run in runs]


def how(run: Manifest) -> str:
    """A run's settings and figures in a few words."""
    facts = counts(run.facts)
    figures = {key: facts[key] for key in FIGURES.get(run.stage, OF_MODELS) if key in facts}
    settings = {key: value_at(run.config, key) for key in SETTINGS.get(run.stage, ())}
    said = [f"{key.replace('_', ' ')} {fact(value)}" for key, value in (settings | figures).items()]
    return ", ".join([run.label, *said])


def value_at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        value = value[part]
    return value


def teachers(runs: Runs) -> list[str]:
    """The models of others that a run learned from, with their licences."""
    found = [run.config["teacher"] for _, run in runs if run.stage in FROM_TEACHERS]
    named = [f"{it['repo']} ({it['licence'] or 'licence not stated'})" for it in found if it["kind"] == "hf"]
    return list(dict.fromkeys(named))


def origins(runs: Runs) -> list[str]:
    """The models on the Hub whose weights a run started from."""
    refs = [ref for _, run in runs for name, ref in run.inputs.items() if ref.stage == "hub" and name != "teacher"]
    return list(dict.fromkeys(ref.id.removeprefix("hf:").partition("@")[0] for ref in refs))


def licences(runs: Runs) -> list[Licence]:
    """What was trained on, by licence; of corpora whose files are gone nothing is known."""
    packages: dict[str, set[tuple[str, str]]] = defaultdict(set)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in source_rows(runs):
        if row["split"] == "train":
            packages[row["licence"]].add((row["source"], row["package"]))
            sums[row["licence"]][0] += row["documents"]
            sums[row["licence"]][1] += row["bytes"]
    found = [Licence(name, len(packages[name]), *numbers) for name, numbers in sums.items()]
    return sorted(found, key=lambda licence: -licence.bytes)


def source_rows(runs: Runs) -> Iterator[dict[str, Any]]:
    for directory, run in runs:
        if run.stage == "prepare":
            yield from rows(directory)


def results(facts: Mapping[str, Any], tasks: Mapping[str, Any], run: str | None = None) -> Iterable[Result]:
    """Every number of an evaluation, unrounded: of held-out rows, and of each benchmark. ``tasks`` are the sections of
    the config that it was made with, ``run`` is its id."""
    for measure in MEASURES:
        if measure in facts:
            yield Result(task="held-out rows", metric=measure, value=facts[measure], dataset="held-out-rows", run=run)
    for task, found in facts.get("scores", {}).items():
        hub = (tasks.get(task) or {}).get("hub") or {}
        for metric, score in found.items():
            if isinstance(score, dict) and "value" in score:
                yield Result(
                    task=task,
                    metric=metric,
                    value=score["value"],
                    low=score.get("low"),
                    high=score.get("high"),
                    problems=found.get("problems"),
                    dataset=hub.get("repo"),
                    run=run,
                )


def shares(
    facts: Mapping[str, Any], beside: Callable[[str, str], Mapping[str, float]] = lambda task, metric: {}
) -> Iterator[Score]:
    """Every metric of every benchmark of an evaluation that is a share, in percent; ``beside`` names other models' of a
    task and metric."""
    for task, found in facts.get("scores", {}).items():
        for metric, value in found.items():
            if isinstance(value, dict) and "value" in value and metric != "perplexity":
                yield Score(
                    task=task,
                    metric=metric,
                    **{key: 100 * value[key] for key in ("value", "low", "high")},
                    problems=found["problems"],
                    samples=found.get("samples", 1),
                    floor=100 * found["empty"] if "empty" in found else None,
                    known=list(beside(task, metric).items()),
                )
