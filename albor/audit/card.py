"""The card of a model, from what its runs, its evaluations and the store say: the one that `albor card`, `albor
release` and the stage `export` write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from albor.audit import falsify
from albor.audit.evaluations import Evaluation
from albor.audit.facts import MODEL, Facts, gather, makes
from albor.audit.item import Unknowable
from albor.audit.predictions import PREDICTIONS
from albor.config.location import conf_directory
from albor.config.schema.model import Model
from albor.contracts import CONTRACTS
from albor.errors import AlborError
from albor.runs import lineage
from albor.runs.store import Run

if TYPE_CHECKING:
    from albor.report.energy import Assumed
    from albor.report.model_card import Contract, ModelCard, Origin, Predicted, Result

RELATIONS = {"merge": "merge", "quantize": "quantized"}
"""What the Hub calls a model that a stage made of others; any other stage's is a finetune."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote of a model."""

    directory: Path
    dtype: str | None
    """None of a GGUF file alone."""
    parameters: int | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a card says that no run knows."""

    licence: str | None = None
    base_models: Sequence[str] = ()
    assumed: Assumed | None = None


def of_run(found: Run, wanted: Wanted, first: Evaluation | None = None) -> ModelCard:
    """The card of a finished run that made a model, with every evaluation in its store; ``first`` goes before newer
    ones. Raises AlborError."""
    made, place = found.manifest, str(found.directory)
    if makes(found) != MODEL:
        fix = "choose one that does: `albor runs pretrain`; `albor lineage RUN` shows what it was made from"
        raise AlborError(f"a {made.stage} run makes {makes(found)}, and no model", fix, place=place)
    if made.status != "done":
        raise AlborError(f"this run is {made.status}, not done", "finish it first: give its command again", place=place)
    if damage := found.damage():
        raise AlborError(f"its model is damaged: {damage}", "build the run again", place=place)
    facts = gather(found)
    others = [it for it in facts.evaluations if first is None or it.run.manifest.id != first.run.manifest.id]
    return card_of(found.artifact, facts, [*([first] if first else []), *others], wanted)


def card_of(
    model: Path,
    facts: Facts | None,
    evaluations: Sequence[Evaluation],
    wanted: Wanted,
    exported: Exported | None = None,
) -> ModelCard:
    """The card of the model in a directory.

    Args:
        facts: about the run that made it; None of a directory that none of ours made.
        exported: what lies beside the card, where that is not the run's own artifact.
    """
    from albor.data.tokenizer import Codec
    from albor.models.companions import chat_template
    from albor.report import made
    from albor.report.energy import spent
    from albor.report.formats import size
    from albor.report.model_card import ModelCard

    directory = exported.directory if exported else model
    runs = [(run.directory, run.manifest) for run in facts.lineage] if facts else []
    run = facts.run.manifest if facts else None
    codec, shape, files = Codec.of_model(model), shape_of(directory), sorted(directory.iterdir())
    names = {number: token for token, number in codec.vocabulary.items()}
    above = lineage.upstream(facts.run.directory) if facts else []
    told = list(results(evaluations, run.digest if run else None))
    stage = run.stage if run else None
    known = str(run.config["model"]["name"]) if run else shape.name if shape else model.name
    origins, datasets = origins_of(above)
    checked, unread = contracts(facts) if facts else ([], [])
    return ModelCard(
        name=" ".join(filter(None, (known, stage))),
        stage=stage,
        parameters=exported.parameters if exported else run.facts.get("parameters") if run else None,
        shape=shape,
        files=[(path.name, size(path.stat().st_size)) for path in files if path.is_file()],
        dtype=exported.dtype if exported else None,
        gguf=[path.name for path in files if path.suffix == ".gguf"],
        run=None if exported or facts is None else f"{facts.run.manifest.stage}/{facts.run.directory.name}",
        chat=codec.chat is not None and chat_template(model) is not None,
        fim=(names[codec.fim.prefix], names[codec.fim.suffix], names[codec.fim.middle]) if codec.fim else None,
        licence=wanted.licence,
        base_models=list(dict.fromkeys((*wanted.base_models, *made.origins(runs)))),
        relation=RELATIONS.get(stage or "", "finetune"),
        datasets=datasets,
        steps=made.steps(runs),
        gone=[f"{it.title} ({(it.digest or 'no digest')[:12]})" for it in above if it.status == "gone"],
        teachers=made.teachers(runs),
        data=made.licences(runs),
        origins=origins,
        evaluation=", ".join(dict.fromkeys(result.run for result in told if result.run)) or None,
        results=told,
        contracts=checked,
        unchecked=unread,
        predictions=list(predictions(facts)) if facts else (),
        spent=spent(
            [each for _, each in runs], stated_power, **({"assumed": wanted.assumed} if wanted.assumed else {})
        ),
        commit=commit(facts.run) if facts else None,
        command=run.command if run else None,
    )


def shape_of(directory: Path) -> Model | None:
    """What config.json says of the model; None beside a GGUF file alone."""
    from albor.models.llama_config import CONFIG_FILE, read_config

    return read_config(directory) if (directory / CONFIG_FILE).is_file() else None


def results(evaluations: Sequence[Evaluation], digest: str | None) -> Iterator[Result]:
    """Each task's numbers, from the newest evaluation that has it. One of other bytes of the model counts for nothing.

    ``evaluations`` are newest first; a ``digest`` of None takes them as they are.
    """
    from albor.report import made

    seen: set[str] = set()
    for evaluation in evaluations:
        if digest is not None and evaluation.model.digest not in (None, digest):
            continue
        tasks = evaluation.generations.manifest.config.get("task") or {}
        found = list(made.results(evaluation.facts, tasks, evaluation.run.manifest.id))
        yield from (result for result in found if result.task not in seen)
        seen |= {result.task for result in found}


def origins_of(above: Sequence[lineage.Artifact]) -> tuple[list[Origin], list[str]]:
    """Where its corpora came from, and those of them that are datasets on the Hub."""
    from albor.report.model_card import Origin
    from albor.report.sources import parts, sources

    origins, hub = [], []
    for artifact in above:
        origins += [Origin(leaf.name, leaf.digest, leaf.detail) for leaf in sources(artifact) if leaf.stage == "source"]
        if artifact.run is not None and artifact.run.stage == "prepare":
            hub += [part.config["repository"] for part in parts(artifact.run) if part.config["kind"] == "hub"]
    return origins, list(dict.fromkeys(hub))


def contracts(facts: Facts) -> tuple[list[Contract], list[str]]:
    """Every contract that a run of the lineage had to keep, with the worst that came of it; and the runs that could not
    be checked, because an albor of another time made them."""
    from albor.report.model_card import Contract, Verdict

    found: dict[str, Contract] = {}
    unread: list[str] = []
    rank: dict[Verdict, int] = {"holds": 0, "warns": 1, "let through": 2, "broken": 3}

    def add(id: str, verdict: Verdict, said: str) -> None:  # noqa: A002
        if id not in found or rank[verdict] > rank[found[id].verdict]:
            found[id] = Contract(id, verdict, said)

    for run in facts.lineage:
        name = f"{run.manifest.stage}/{run.directory.name}"
        for id in run.manifest.allowed:  # noqa: A001
            add(id, "let through", f"by {name}")
        try:
            case = facts.case(run)
        except Unknowable:
            unread.append(name)
            continue
        cases = [replace(it, cfg=replace(it.cfg, allow=())) for it in (case, case.recovery) if it is not None]
        for one in cases:
            for id, contract in CONTRACTS.items():  # noqa: A001
                if one.stage in contract.stages:
                    add(id, "holds", "")
                    for finding in contract.findings(one):
                        broken: Verdict = "let through" if id in run.manifest.allowed else "broken"
                        verdict = broken if finding.severity == "error" else "warns"
                        add(id, verdict, f"{name}: {finding.message}")
    return [contract for _, contract in sorted(found.items())], unread


def predictions(facts: Facts) -> Iterator[Predicted]:
    """All nine, on the runs of the lineage and their evaluations."""
    from albor.report.model_card import Predicted

    for number in sorted(PREDICTIONS):
        prediction = PREDICTIONS[number]
        try:
            [(_, judgment)] = falsify.judge([prediction], facts.material)
            verdict, evidence = str(judgment.verdict), judgment.evidence
        except (AlborError, OSError) as error:
            verdict, evidence = "UNTESTED", f"it cannot be judged: {getattr(error, 'cause', error)}"
        yield Predicted(prediction.id, prediction.title, verdict, evidence)


def stated_power(name: str) -> float | None:
    """The watts that our own config of a device states, for runs that recorded none."""
    path = conf_directory() / "hardware" / f"{Path(name).name}.yaml"
    if not path.is_file():
        return None
    found = yaml.safe_load(path.read_text(encoding="utf-8")).get("power")
    return float(found) if found else None


def commit(run: Run) -> str | None:
    made = run.manifest.environment
    if not made.get("git_commit"):
        return None
    return f"{made['git_commit']}{' with changes' if made.get('git_dirty') else ''}"
