"""A release as a directory: a card for each model, notes, numbers and checksums. Whole or not there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.audit.card import Wanted, commit, of_run
from albor.audit.drift import damaged
from albor.audit.evaluations import Evaluation
from albor.audit.facts import gather
from albor.errors import AlborError
from albor.runs.files import atomic_directory, sha256_file
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, load
from albor.runs.store import Run, Store, written_to

if TYPE_CHECKING:
    from albor.report.release import Release, Released
    from albor.report.trajectory import Rung

NOTES, NUMBERS, SUMS, MODELS = "RELEASE.md", "release.json", "SHA256SUMS", "MODELS.sha256"
LADDER = "ladder"
ENVIRONMENT = {
    "albor": "albor",
    "git_commit": "its commit",
    "lock_sha256": "its requirements.lock, SHA-256",
    "python": "Python",
    "torch": "torch",
    "platform": "system",
}
"""What the notes tell of where the models were made, and what it is called there."""


@dataclass(frozen=True)
class Chosen:
    """A model to release."""

    name: str
    """Of the rung, or of the run's directory."""
    run: Run
    evaluation: Evaluation | None = None
    """The one that the ladder measured it by."""
    speed: Mapping[str, Any] = field(default_factory=dict)
    """What the ladder measured besides: ``ms_per_token`` and ``engine``."""

    @property
    def title(self) -> str:
        return f"{self.run.manifest.stage}/{self.run.directory.name}"


def choose(store: Store, words: Sequence[str]) -> tuple[str, list[Chosen], Run | None]:
    """(title, the models, the ladder's run) of one ladder, or of runs that made models. Raises AlborError."""
    found = [store.find(word) for word in words]
    if len(found) == 1 and found[0].manifest.stage == LADDER:
        ladder = found[0]
        if ladder.manifest.status != "done":
            cause = f"this ladder is {ladder.manifest.status}, not done"
            raise AlborError(cause, "finish it first: give its command again", place=str(ladder.directory))
        return f"The ladder {ladder.manifest.label}", [rung(ladder, name) for name in ladder.manifest.inputs], ladder
    names = [run.directory.name for run in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise AlborError(f"{twice} is named twice", "name each run once")
    return ", ".join(names), [Chosen(run.directory.name, run) for run in found], None


def rung(ladder: Run, name: str) -> Chosen:
    """A rung's model, and the evaluation that the ladder measured it by. Raises AlborError when one is gone."""
    measured = taken(ladder, name)
    evaluation = Evaluation(measured, taken(measured, "generations"))
    if evaluation.model.stage in EXTERNAL:
        cause = f"the rung {name} is a directory, and no run of albor's"
        raise AlborError(cause, "release the runs by their names", place=str(ladder.directory))
    known = (ladder.manifest.facts.get("rungs") or {}).get(name) or {}
    speed = {key: known[key] for key in ("ms_per_token", "engine") if known.get(key)}
    return Chosen(name, taken(evaluation.generations, "model"), evaluation, speed)


def taken(run: Run, name: str) -> Run:
    """The run that made an input. Raises AlborError when it is gone."""
    directory = input_path(run.directory, run.manifest.inputs[name]).parent
    return Run(directory, load(directory))


def write(out: Path, store: Store, words: Sequence[str], wanted: Wanted, since: Path | None) -> list[str]:
    """Writes the directory ``out``; gives the names of its files. Raises AlborError."""
    from albor.report.model_card import render
    from albor.report.release import notes, numbers

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlborError(f"there is something in {out}", "choose another directory: --out DIR", place=str(out))
    before = read(since) if since else None
    title, chosen, ladder = choose(store, words)
    release = describe(title, chosen, ladder, wanted)
    if bad := damaged([each.run for each in chosen]):
        raise AlborError(f"{bad[0].run}: {bad[0].path}: {bad[0].text}", "build the run again", place=str(store.root))
    texts = {rung.page: render(rung.card) for rung in release.rungs}
    texts[NUMBERS] = json.dumps(numbers(release), indent=1) + "\n"
    texts[MODELS] = "".join(f"{f.sha256}  {f.path}\n" for rung in release.rungs for f in rung.files)
    texts[NOTES] = notes(release, before)
    with written_to(out, "--out DIR"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_directory(out) as place:
            for name, text in texts.items():
                (place / name).write_text(text, encoding="utf-8")
            sums = "".join(f"{sha256_file(place / name)}  {name}\n" for name in sorted(texts))
            (place / SUMS).write_text(sums, encoding="utf-8")
    return [NOTES, *sorted(texts.keys() - {NOTES}), SUMS]


def describe(title: str, chosen: Sequence[Chosen], ladder: Run | None, wanted: Wanted) -> Release:
    """All that the notes say. Raises AlborError."""
    from albor.report.release import Release
    from albor.report.trajectory import Trajectory
    from albor.report.trajectory_page import markdown

    runs = [each.run for each in chosen]
    pages = pages_of(chosen)
    return Release(
        title=title,
        made=time.strftime("%Y-%m-%d"),
        rungs=[released(each, page, wanted) for each, page in zip(chosen, pages, strict=True)],
        trajectory=markdown(Trajectory(title=title, run_id="", rungs=[drawn(each) for each in chosen])),
        commands=list(dict.fromkeys(run.manifest.command for run in ([ladder] if ladder else runs))),
        environment={title: ", ".join(dict.fromkeys(recorded(runs, key))) for key, title in ENVIRONMENT.items()},
    )


def recorded(runs: Sequence[Run], key: str) -> Iterator[str]:
    """What the runs' environments say of something, of those that do."""
    for run in runs:
        value = commit(run) if key == "git_commit" else run.manifest.environment.get(key)
        if value is not None:
            yield str(value)


def released(each: Chosen, page: str, wanted: Wanted) -> Released:
    from albor.report.release import File, Released

    made = each.run.manifest
    card = of_run(each.run, wanted, first=each.evaluation)
    files = [File(f"{each.title}/artifact/{name}", ref.bytes, ref.sha256) for name, ref in made.files.items()]
    return Released(name=each.name, page=page, run=each.title, digest=str(made.digest), files=files, card=card)


def drawn(each: Chosen) -> Rung:
    """The model as a row of the trajectory."""
    from albor.report.trajectory import Rung
    from albor.stages.ladder import how, weights
    from albor.stages.report import scores_of

    made = each.run.manifest
    evaluation = each.evaluation or next(iter(gather(each.run).evaluations), None)
    facts = evaluation.facts if evaluation else {}
    return Rung(
        name=each.name,
        stage=made.stage,
        run_id=made.id,
        how=how(made),
        parameters=made.facts.get("parameters"),
        bytes=sum(path.stat().st_size for path in weights(each.run.artifact)),
        val_ppl=facts.get("val_ppl"),
        bits_per_byte=facts.get("val_bits_per_byte"),
        scores=list(scores_of(facts)),
        seconds=made.seconds,
        **each.speed,
    )


def pages_of(chosen: Sequence[Chosen]) -> list[str]:
    """A file name for each card: that of the model, with nothing in it that leads elsewhere, and no two the same."""
    pages: list[str] = []
    for each in chosen:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", each.name).strip("-") or "model"
        taken = {page.lower() for page in pages} | {NOTES.lower()}
        while f"{name}.md".lower() in taken:
            name += "-2"
        pages.append(f"{name}.md")
    return pages


def read(since: Path) -> dict[str, Any]:
    """An earlier release's numbers. Raises AlborError."""
    from albor.report.model_card import Result
    from albor.report.release import SCHEMA

    path = since / NUMBERS if since.is_dir() else since
    fix = f"--since takes a directory that `albor release` wrote: it holds {NUMBERS}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            cause = f"a release of schema {found['schema']}; this albor reads {SCHEMA}"
            raise AlborError(cause, "use the albor that made it", place=str(path))
        for rung in found["rungs"]:
            _ = rung["name"], rung["digest"], [Result(**it) for it in rung["results"]]
        _ = found["title"] + found["made"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AlborError(f"the earlier release cannot be read: {error}", fix, place=str(path)) from None
    assert isinstance(found, dict)
    return found
