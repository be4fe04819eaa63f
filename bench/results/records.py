"""What is kept of a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from albor.runs.manifest import Manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Store

PLACE = Path(__file__).parents[2] / "docs" / "results" / "runs.jsonl"
VERDICTS = PLACE.with_name("verdicts.jsonl")
STAGES = ("pretrain", "distill", "finetune", "merge", "prune", "quantize", "eval", "bench", "ladder")
LOCAL = ("inputs.rows=", "inputs.tokenizer=", "inputs.documents=", "tracking=")
"""Overrides by which a machine without a network gets what others build: ids are the same without them."""
BEFORE = ("prepare", "tokenizer", "pack")
"""What makes the rows. A seed on the command line is theirs, too, unless they are given."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run of albor's, or of a loop beside it."""

    name: str
    """What it is called: a run's label, a loop's file."""
    stage: str
    id: str
    """SHA-256 of the config and the inputs, its first twelve digits; "" for a loop."""
    command: str
    rows: str | None
    """SHA-256 of the rows that it was trained or measured on."""
    inputs: dict[str, str] = field(default_factory=dict)
    """The runs that it was made from."""
    hardware: str
    torch: str | None
    commit: str | None
    date: str
    """Of its end, or of the last that was heard of it."""
    status: str
    seconds: float | None
    facts: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    """Validations: step, tokens, val_ppl, val_bits_per_byte."""

    @property
    def key(self) -> str:
        """STAGE/NAME, or a loop's name."""
        return f"{self.stage}/{self.name}" if self.id else self.name


def load(place: Path = PLACE) -> list[Record]:
    return [Record(**json.loads(line)) for line in place.read_text().splitlines()] if place.exists() else []


def save(records: Iterable[Record], place: Path = PLACE) -> None:
    """Sorted, so that a new record is one line of difference."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(record)) for record in sorted(records, key=lambda r: (r.date, r.stage, r.name, r.id))]
    place.write_text("".join(f"{line}\n" for line in lines))


def merged(old: Sequence[Record], new: Iterable[Record]) -> list[Record]:
    """``new`` in place of what was known of the same runs, but not of those that had come to their ends."""
    found = {(record.stage, record.id, record.name): record for record in old}
    for record in new:
        known = found.setdefault((record.stage, record.id, record.name), record)
        if known.status != "done":
            found[record.stage, record.id, record.name] = record
    return list(found.values())


def of_store(root: Path) -> Iterator[Record]:
    """The runs in ``outputs`` that make or measure models; also those that were cut off, as far as they came."""
    runs = [run for run in Store(root).runs() if run.manifest.status != "planned"]
    by_id = {run.manifest.id: run.manifest for run in runs}
    for run in runs:
        manifest = run.manifest
        if manifest.stage not in STAGES:
            continue
        log = run.directory / METRICS
        inputs = dict(manifest.inputs)
        if generated := inputs.get("generations"):
            # An evaluation reads what was generated; the model and the rows are that run's.
            inputs |= by_id[generated.id].inputs if generated.id in by_id else {}
        rows = inputs.get("rows")
        yield Record(
            name=manifest.label,
            stage=manifest.stage,
            id=manifest.id,
            command=plain(manifest.command, by_id[rows.id].command if rows and rows.id in by_id else ""),
            rows=rows.digest if rows else None,
            inputs={name: given.id for name, given in inputs.items()},
            hardware=str(manifest.choices.get("hardware")),
            torch=manifest.environment.get("torch"),
            commit=(manifest.environment.get("git_commit") or "")[:7] or None,
            date=day(manifest.finished or (log.stat().st_mtime if log.exists() else manifest.created)),
            status=manifest.status,
            seconds=manifest.seconds,
            facts=kept(manifest),
            curve=list(validations(log)),
        )


def of_loop(path: Path) -> Record:
    """What ``bench.raw_loop`` has written: a line about itself, then one for each validation."""
    about, *curve = [json.loads(line) for line in path.read_text().splitlines()]
    last = curve[-1] if curve else {"step": 0, "seconds": 0.0}
    return Record(
        name=path.stem,
        stage="loop",
        id="",
        command=about["command"],
        rows=about["rows"],
        hardware=about["device"],
        torch=about["torch"],
        commit=about["commit"],
        date=day(about["time"] + last["seconds"]),
        status="done" if last["step"] == about["steps"] else "interrupted",
        seconds=last["seconds"],
        facts={"parameters": about["parameters"]},
        curve=curve,
    )


def verdicts(said: str) -> list[dict[str, Any]]:
    """The judgments that ``albor falsify --json`` printed, also where warnings stand around them."""
    found: list[dict[str, Any]] = json.JSONDecoder().raw_decode(said, said.index("["))[0]
    return [{key: one[key] for key in ("id", "title", "condition", "verdict", "evidence")} for one in found]


def judged(old: Sequence[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """``new`` in place of ``old``; what the runs at hand leave untested stays as other runs had it."""
    found = {one["id"]: one for one in old}
    found |= {one["id"]: one for one in new if one["verdict"] != "UNTESTED" or one["id"] not in found}
    return [found[name] for name in sorted(found)]


def load_verdicts(place: Path = VERDICTS) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def save_verdicts(found: Iterable[dict[str, Any]], place: Path = VERDICTS) -> None:
    place.write_text("".join(f"{json.dumps(one)}\n" for one in found))


def plain(command: str, rows: str = "") -> str:
    """A command without what only the machine it was given on needed.

    ``rows`` is the command of its rows: what that says of the data and its seed is said here, too, so that they are
    made again.
    """
    words = [word for word in shlex.split(command) if not word.startswith(LOCAL)]
    theirs = shlex.split(rows)
    of_data = [word for word in theirs if word.startswith("data.") and word not in words]
    given = any(word.startswith("inputs.rows=") for word in shlex.split(command))
    if given and any(word.startswith("seed=") for word in words):
        seed = next((word for word in theirs if word.startswith("seed=")), "seed=42")
        of_data += [f"up.{stage}.{seed}" for stage in BEFORE if seed not in words]
    return shlex.join([*words, *of_data])


def kept(manifest: Manifest) -> dict[str, Any]:
    """Facts without what is long and of no number."""
    return {name: value for name, value in manifest.facts.items() if name not in ("model_config", "samples")}


def validations(log: Path) -> Iterator[dict[str, float]]:
    """Of a run's log, each step once."""
    found: dict[int, dict[str, float]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        row = json.loads(line)
        if "val_ppl" in row and "step" in row:
            keys = ("step", "tokens", "val_ppl", "val_bits_per_byte")
            found[row["step"]] = {key: row[key] for key in keys if key in row}
    yield from found.values()


def day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
