"""The rungs of a ladder as one target: each model, measured like the others, and what came of each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.runs.manifest import Manifest, load
from albor.stages.base import Context, Facts, Input, Stage, Upstream
from albor.stages.report import PAGE, lineage, measured_model, samples_of, scores_of

if TYPE_CHECKING:
    from albor.report.trajectory import Rung, Trajectory

TABLE = "trajectory.md"
PROMPT = "def "
NEW_TOKENS, ROUNDS = 64, 5
"""Of the continuations by which the time per token is taken."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the ladder stage alone."""

    name: Literal["ladder"] = "ladder"
    """The stage's name."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """An evaluation of each rung, a target of its own. Raises AlborError when there are none."""
    if not cfg.ladder.rungs:
        raise AlborError(
            "the ladder has no rungs", "choose one: ladder=demo; `albor ls ladder` lists them", code="E-CHOICE"
        )
    said = cfg.ladder.overrides
    return {
        rung: Upstream(stage="eval", makes="evaluation", target=(f"eval.of={stage}", *said), key=f"ladder.rungs.{rung}")
        for rung, stage in cfg.ladder.rungs.items()
    }


def run(cfg: Whole, context: Context) -> Facts:
    from albor.report.trajectory_page import markdown, render

    found = trajectory(cfg, context)
    page = render(found)
    write_text(context.out / PAGE, page)
    write_text(context.out / TABLE, markdown(found))
    return {"page": PAGE, "bytes": len(page.encode()), "rungs": {rung.name: numbers(rung) for rung in found.rungs}}


def numbers(rung: Rung) -> dict[str, Any]:
    """What is known of a rung, for those who read manifests."""
    known = ("stage", "run_id", "parameters", "bytes", "val_ppl", "bits_per_byte", "ms_per_token", "engine", "seconds")
    scores = {f"{score.task} {score.metric}": round(score.value, 4) for score in rung.scores}
    return {key: getattr(rung, key) for key in known} | {"scores": scores}


def trajectory(cfg: Whole, context: Context) -> Trajectory:
    from albor.report.trajectory import Trajectory

    own = load(context.directory)
    rungs, samples, device = [], {}, ""
    for number, name in enumerate(cfg.ladder.rungs):
        context.progress(number, len(cfg.ladder.rungs), name)
        evaluation = context.inputs[name]
        directory, made = measured_model(evaluation)
        rung, device = rung_of(name, evaluation, directory, made)
        rungs.append(rung)
        samples[name] = samples_of(evaluation)
    return Trajectory(
        title=f"The ladder {cfg.ladder.name}",
        run_id=own.id,
        rungs=rungs,
        samples=samples,
        device=device,
        lineage=lineage(*(evaluation.path.parent for evaluation in context.inputs.values())),
        command=own.command,
    )


def rung_of(name: str, evaluation: Input, directory: Path, made: Manifest) -> tuple[Rung, str]:
    from albor.evals.latency import measure
    from albor.report.trajectory import Rung

    artifact, facts = directory / "artifact", evaluation.facts
    speed = measure(artifact, PROMPT, new_tokens=NEW_TOKENS, rounds=ROUNDS)
    return Rung(
        name=name,
        stage=made.stage,
        run_id=made.id,
        how=how(made),
        parameters=made.facts.get("parameters"),
        bytes=sum(path.stat().st_size for path in weights(artifact)),
        val_ppl=facts.get("val_ppl"),
        bits_per_byte=facts.get("val_bits_per_byte"),
        scores=list(scores_of(facts)),
        ms_per_token=speed.ms_per_token,
        engine=speed.engine,
        seconds=made.seconds,
    ), speed.device


def weights(artifact: Path) -> Iterator[Path]:
    yield from (path for path in artifact.iterdir() if path.suffix in (".safetensors", ".gguf"))


def how(made: Manifest) -> str:
    """What a run did, in a few words."""
    config, facts = made.config, made.facts
    steps = f"{facts.get('steps', 0):,} steps"
    match made.stage:
        case "pretrain":
            return f"{steps} from random weights"
        case "distill":
            return f"{steps} beside a teacher" if config["distill"]["route"] == "online" else f"{steps} after a teacher"
        case "finetune":
            taught = "preferences" if config["objective"]["kind"] == "dpo" else "examples"
            return f"{steps} of {taught}, {config['finetune']['kind']}"
        case "merge":
            return f"{config['merge']['kind']} of {facts['models']} models"
        case "prune":
            savings = facts["savings"]
            gone = 1 - savings["parameters"] / savings["parameters_before"]
            zeros = f"{savings['zeros'] / savings['prunable']:.0%} zeros"
            did = f"{gone:.0%} of the parameters gone" if gone else zeros
            return f"{config['prune']['kind']}, {did}{f', {steps} of recovery' if 'steps' in facts else ''}"
        case "quantize":
            return f"{facts['kind']}, {facts['bits_per_weight']:.2f} bits a weight"
    return made.label


STAGE = Stage(
    name="ladder",
    version=1,
    makes="trajectory",
    config=Config,
    reads=("ladder",),
    label=lambda cfg: cfg.ladder.name,
    inputs=inputs,
    run=run,
    accelerated=True,
)
