"""One page about a trained and evaluated model."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from albor.config.schema.config import Config as Whole
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import EXTERNAL, Manifest, load
from albor.runs.metrics import NAME as METRICS
from albor.stages.base import Context, Facts, Input, Stage

if TYPE_CHECKING:
    from albor.report.model import Ancestor, Report, Score

PAGE = "index.html"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the report stage alone."""

    name: Literal["report"] = "report"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.report.page import render

    page = render(collect(context.inputs["evaluation"]))
    write_text(context.out / PAGE, page)
    return {"page": PAGE, "bytes": len(page.encode())}


def collect(evaluation: Input) -> Report:
    """The report's data: the evaluation's, and of the run that made the evaluated model its manifest, log and config.

    Raises AlborError when that model was given as a plain directory: nothing is known of its training.
    """
    from albor.report.metrics import read_metrics
    from albor.report.model import Headline, Report

    measured = evaluation.path.parent
    directory, run = measured_model(evaluation)
    facts = run.facts
    initial = facts.get("initial_val_loss")
    return Report(
        title=f"{run.label}: {run.stage}",
        run_id=run.id,
        stage=run.stage,
        status=run.status,
        started=moment(run.started),
        finished=moment(run.finished),
        headline=Headline(
            parameters=facts.get("parameters"),
            tokens=facts.get("tokens"),
            steps=facts.get("steps"),
            val_ppl_before=math.exp(initial) if initial else None,
            val_ppl_after=facts.get("val_ppl"),  # on the rows of val_ppl_before; the evaluation may take others
            bits_per_byte=facts.get("val_bits_per_byte"),
            tokens_per_second=facts.get("tokens_per_second"),
            seconds=facts.get("seconds"),
            vocab_size=facts.get("vocab_size"),
        ),
        metrics=read_metrics(directory / METRICS),
        samples=samples_of(evaluation),
        scores=scores_of(evaluation.facts),
        evaluation={k: v for k, v in evaluation.facts.items() if k.startswith("val_")},
        config=run.config,
        lineage=lineage(measured),
        environment={k: str(v) for k, v in run.environment.items() if v is not None},
        command=run.command,
    )


def measured_model(evaluation: Input) -> tuple[Path, Manifest]:
    """The run that made the evaluated model. Raises AlborError when it is none of albor's."""
    said = generated(evaluation)
    ref = load(said).inputs.get("model")
    if ref is None or ref.stage in EXTERNAL:
        raise AlborError("the evaluated model is no run of albor's, so there is no training to report", "stage=eval")
    directory = input_path(said, ref).parent
    return directory, load(directory)


def generated(evaluation: Input) -> Path:
    """The run that asked the evaluated model."""
    measured = evaluation.path.parent
    return input_path(measured, load(measured).inputs["generations"]).parent


def samples_of(evaluation: Input) -> list[tuple[str, str]]:
    """(prompt, completion) of each sample."""
    found = map(json.loads, lines(evaluation.path / "samples.jsonl"))
    return [(sample["prompt"], sample["completion"]) for sample in found]


def scores_of(facts: Facts) -> list[Score]:
    """Every metric of every benchmark that is a share, in percent, beside known models'."""
    from albor.evals.baselines import beside
    from albor.report.made import shares

    return list(shares(facts, beside))


def lineage(*directories: Path) -> list[Ancestor]:
    from albor.report.made import counts
    from albor.report.model import Ancestor

    runs = {place: run for directory in directories for place, run in chain(directory)}
    return [
        Ancestor(
            stage=run.stage,
            name=run.label,
            id=run.id,
            sha256=run.digest or "",
            seconds=run.seconds,
            facts=counts(run.facts),
            inputs=[ref.id for ref in run.inputs.values()],
        )
        for run in runs.values()
    ]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


STAGE = Stage(
    name="report",
    version=2,
    makes="page",
    config=Config,
    reads=(),
    label=lambda cfg: cfg.model.name,
    inputs=lambda cfg: {"evaluation": "eval"},
    run=run,
)
