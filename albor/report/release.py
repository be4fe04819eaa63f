"""Release notes: what is in a release, its numbers rung by rung, and what is another than in a release before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albor.data.provenance import text
from albor.report.card_sections import LIMITS, code, kwh, mass, mono, table, value_of
from albor.report.energy import Spent, total
from albor.report.formats import ABSENT, number, size
from albor.report.model_card import ModelCard, Result

SCHEMA = 1
"""Of release.json."""
WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True)
class File:
    """A file of a model."""

    path: str
    """Below the store."""
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Released:
    """One model of a release."""

    name: str
    page: str
    """The file of its card."""
    run: str
    """STAGE/LABEL-ID."""
    digest: str
    files: Sequence[File]
    card: ModelCard

    @property
    def weights(self) -> int:
        """Bytes of the files that hold the weights, which is what the trajectory calls a model's size."""
        return sum(file.bytes for file in self.files if file.path.endswith(WEIGHTS))


@dataclass(frozen=True, kw_only=True)
class Release:
    """Everything that its notes say."""

    title: str
    made: str
    """The day."""
    rungs: Sequence[Released]
    trajectory: str
    """The table of the rungs, as Markdown."""
    commands: Sequence[str]
    environment: Mapping[str, str]
    """What made the models, by its title; empty where that was not recorded."""


def numbers(release: Release) -> dict[str, Any]:
    """release.json: what a later release is compared with."""
    return {
        "schema": SCHEMA,
        "title": release.title,
        "made": release.made,
        "rungs": [
            {
                "name": rung.name,
                "run": rung.run,
                "digest": rung.digest,
                "parameters": rung.card.parameters,
                "bytes": sum(file.bytes for file in rung.files),
                "files": [vars(file) for file in rung.files],
                "results": [vars(result) for result in rung.card.results],
            }
            for rung in release.rungs
        ],
    }


def notes(release: Release, before: Mapping[str, Any] | None) -> str:
    """RELEASE.md. ``before`` is an earlier release's numbers."""
    parts = (
        f"# {text(release.title)}",
        f"{len(release.rungs)} model{'s' if len(release.rungs) > 1 else ''} of Python code, "
        f"released on {release.made}, measured alike.",
        table(
            ("model", "run", "parameters", "weights", "licence", "card"),
            [
                [
                    *(text(rung.name), mono(rung.run), number(rung.card.parameters)),
                    *(size(rung.weights), text(rung.card.licence or "not said")),
                    f"[{text(rung.page)}]({rung.page})",
                ]
                for rung in release.rungs
            ],
            right=(2, 3),
        ),
        "## Trajectory",
        release.trajectory.strip(),
        *(changes(release, before) if before is not None else ()),
        *_licences(release),
        *_limits(release),
        *_energy(release),
        *_files(release),
        "## Made again",
        "The same commands, with albor at the same commit and the same sources, plan the same runs, by the same ids.",
        code(*(line for command in release.commands for line in command.splitlines()), language=""),
        table(
            ("of", "which"),
            [[text(key), mono(value) if value else "not recorded"] for key, value in release.environment.items()],
        ),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def changes(release: Release, before: Mapping[str, Any]) -> Sequence[str]:
    """What is another than before: models that came or went, and every number."""
    old = {rung["name"]: rung for rung in before["rungs"]}
    new = {rung.name: rung for rung in release.rungs}
    head = f"Against {text(before['title'])} of {text(before['made'])}."
    came, went = [name for name in new if name not in old], [name for name in old if name not in new]
    same = [name for name in new if name in old and old[name]["digest"] == new[name].digest]
    told = (("New", came), ("Gone", went), ("The same to the bit", same))
    said = [f"{what}: {', '.join(map(text, names))}." for what, names in told if names]
    rows = [row for name in new if name in old for row in compared(name, old[name]["results"], new[name].card.results)]
    listed = table(("model", "task", "metric", "before", "now", ""), rows, right=(3, 4)) if rows else ""
    return ["## What changed", " ".join([head, *said]), listed]


def compared(name: str, before: Sequence[Mapping[str, Any]], now: Sequence[Result]) -> list[list[str]]:
    """A row for each number that either release has; whether a difference is within the intervals is said."""
    old = {(it["task"], it["metric"]): Result(**it) for it in before}
    new = {(it.task, it.metric): it for it in now}
    return [
        [
            *(text(name), text(key[0]), text(key[1])),
            value_of(old[key]) if key in old else ABSENT,
            value_of(new[key]) if key in new else ABSENT,
            verdict(old.get(key), new.get(key)),
        ]
        for key in dict.fromkeys([*new, *old])
    ]


def verdict(before: Result | None, now: Result | None) -> str:
    if before is None or now is None:
        return "not measured before" if before is None else "not measured now"
    if before.value == now.value:
        return "the same"
    if before.problems != now.problems:
        return "of other problems"
    if None not in (before.low, before.high, now.low, now.high):
        assert before.low is not None and before.high is not None and now.low is not None and now.high is not None
        apart = now.low > before.high or now.high < before.low
        return "another" if apart else "within the intervals"
    return f"{100 * (now.value / before.value - 1):+.1f}%" if before.value else "another"


def _licences(release: Release) -> list[str]:
    """Of what the models were trained on."""
    found = {licence.name: licence for rung in release.rungs for licence in rung.card.data}
    head = "## Licences"
    if not found:
        return [head, "What the models were trained on is not recorded here any more."]
    rows = [
        [text(it.name or "none"), number(it.packages), number(it.documents), size(it.bytes)] for it in found.values()
    ]
    said = "The models were trained on Python code under these licences; each card has its own."
    return [head, said, table(("licence", "packages", "documents", "bytes"), rows, right=(1, 2, 3))]


def _limits(release: Release) -> list[str]:
    """What is known against the models: each thing once, with those that it is known of."""
    known: dict[str, list[str]] = {}
    for rung in release.rungs:
        for line in against(rung.card):
            known.setdefault(line, []).append(text(rung.name))
    return ["## Known limits", LIMITS, "\n".join(f"- {', '.join(names)}: {line}." for line, names in known.items())]


def against(card: ModelCard) -> Iterator[str]:
    for it in card.predictions:
        if it.verdict == "FALSIFIED":
            yield f"{it.id} ({text(it.title)}) is falsified: {text(it.evidence)}"
    for contract in card.contracts:
        if contract.verdict in ("let through", "broken"):
            was = "was let through" if contract.verdict == "let through" else "is broken"
            yield f"the contract {contract.id} {was}: {text(contract.said)}"
    if card.evaluation is None:
        yield "not evaluated"
    if card.gone:
        yield f"gone upstream: {', '.join(map(text, card.gone))}"


def _energy(release: Release) -> list[str]:
    """Of all runs that made any of the models, each counted once."""
    runs: dict[tuple[str, str], Spent] = {(it.stage, it.id): it for rung in release.rungs for it in rung.card.spent}
    whole, grams = total([it.kwh for it in runs.values()]), total([it.grams for it in runs.values()])
    if whole is None or grams is None:
        return ["## Energy", "What the devices draw is not known, so neither are energy and carbon."]
    said = (
        f"**An estimate**, of {len(runs)} runs together: {kwh(whole)} kWh and {mass(grams)} of CO2; the cards say how."
    )
    return ["## Energy", said]


def _files(release: Release) -> list[str]:
    rows = [
        [text(rung.name), mono(f.path), size(f.bytes), mono(f.sha256)] for rung in release.rungs for f in rung.files
    ]
    return [
        "## Files",
        "The models lie in the store: `sha256sum -c MODELS.sha256` checks all their files from there, and "
        "`sha256sum -c SHA256SUMS` those of this directory from here. The models' files are",
        table(("model", "file", "size", "SHA-256"), rows, right=(2,)),
    ]
