"""A model as others expect it: what transformers and llama.cpp load, and a card with what was measured of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.quantize import Kind
from albor.config.types import HubLicence, Text
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, InputRef, Manifest, load, verify
from albor.runs.store import Run
from albor.stages import base as stages
from albor.stages.base import Context, Cost, Facts, Input, Stage, Upstream
from albor.stages.report import generated

if TYPE_CHECKING:
    from albor.report.model_card import ModelCard

CARD = "README.md"
KINDS: tuple[Kind, ...] = ("q8_0",)
"""The GGUF files that are written unless others are named: half of float16's size, and hardly another model."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the export stage alone."""

    name: Literal["export"] = "export"
    """The stage's name."""
    of: Text = "merge"
    """The stage whose model is exported: the ladder's last one of full size and precision, unless another is named."""
    evaluated: bool = True
    """Measure that model first, as eval and task say, so that its card has numbers; without, the card says so."""
    dtype: Literal["bf16", "float32"] = "bf16"
    """What the weights are stored as."""
    gguf: tuple[Kind, ...] | None = None
    """GGUF files to write beside the weights, by their kinds; null is q8_0, and of a quantised model its own file."""
    licence: HubLicence | None = None
    """What the weights are licensed under, by the Hub's key: apache-2.0, mit, other."""
    base_models: tuple[Text, ...] = ()
    """Models on the Hub that this one was made of, besides those that its runs name."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """An evaluation of the model, a target of its own like a rung's of a ladder, or else the model."""
    of = cfg.stage.of
    if of not in stages.names() or stages.find(of).makes != "model":
        return {"model": Upstream(stage=of, makes="model", key="stage.of")}  # is refused by its name
    if cfg.stage.evaluated:
        return {"evaluation": Upstream(stage="eval", makes="evaluation", target=(f"eval.of={of}",), key="stage.of")}
    return {"model": Upstream(stage=of, makes="model", target=(), key="stage.of")}


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """What writes GGUF files, where any are wanted. Raises AlborError."""
    kinds = kinds_of(cfg)
    libraries = [*(["gguf"] if kinds else []), *(["xllamacpp"] if "q4_k_m" in kinds else [])]
    for library in libraries:
        if find_spec(library) is None:
            raise AlborError(
                f"the package {library} is not installed, and GGUF files are wanted",
                "pip install 'albor[gguf]', or leave them out: stage.gguf=[]",
                place="stage.gguf",
                code="E-MODEL",
            )


def kinds_of(cfg: Whole) -> tuple[Kind, ...]:
    """The GGUF files to write beside weights."""
    named: tuple[Kind, ...] | None = cfg.stage.gguf
    return KINDS if named is None else named


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    from albor.config.gguf_layout import gguf_bytes

    weights = (2 if cfg.stage.dtype == "bf16" else 4) * cfg.model.num_parameters
    return Cost(disk=weights + sum(gguf_bytes(cfg.model, kind) for kind in kinds_of(cfg)))


@dataclass(frozen=True)
class Source:
    """What is exported."""

    path: Path
    made: tuple[Path, Manifest] | None
    """The run that made it; None of a directory."""
    evaluation: Input | None

    @property
    def gguf(self) -> Path | None:
        """Its file, when it is a quantised model."""
        return next((path for path in self.path.glob("*.gguf") if not any(self.path.glob("*.safetensors"))), None)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.report.model_card import render

    source = source_of(context)
    facts = copied(cfg, context, source) if source.gguf else written(cfg, context, source)
    write_text(context.out / CARD, render(card_of(cfg, context, source, facts)))
    return facts


def source_of(context: Context) -> Source:
    """The given model, or the one that was evaluated. Raises AlborError when that one is another by now."""
    evaluation = context.inputs.get("evaluation")
    reader = generated(evaluation) if evaluation else context.directory
    ref = load(reader).inputs.get("model")
    if ref is None:
        raise AlborError("what was evaluated is a service: there is no model to export", "leave eval.endpoint out")
    path = place_of(reader, ref)
    if ref.stage in EXTERNAL:
        return Source(path, None, evaluation)
    made = load(path.parent)
    if made.digest != ref.digest:
        cause = f"{made.stage}/{path.parent.name} was built again after it was evaluated"
        raise AlborError(cause, "evaluate it again: leave inputs.evaluation out", place=str(path.parent))
    for name, known in made.files.items():
        verify(path / name, known)
    return Source(path, (path.parent, made), evaluation)


def place_of(reader: Path, ref: InputRef) -> Path:
    """Where the model lies that a run has read; fetched when that is the Hub."""
    from albor.models.hub import fetch

    return fetch(ref.path) if ref.stage == "hub" else input_path(reader, ref)


def written(cfg: Whole, context: Context, source: Source) -> dict[str, Any]:
    """Weights and all that goes with them, and GGUF files made of the weights as trained."""
    import torch

    from albor.models.companions import describe
    from albor.models.export import export_model
    from albor.models.gguf import write_gguf

    dtype = torch.bfloat16 if cfg.stage.dtype == "bf16" else torch.float32
    tensors = export_model(source.path, context.out, dtype=dtype, progress=progress(context, "tensors"))
    for kind in kinds_of(cfg):
        write_gguf(
            source.path,
            context.out / gguf_name(kind),
            kind=kind,
            licence=cfg.stage.licence,
            progress=progress(context, kind),
        )
    return {**describe(context.out), "tensors": tensors, "dtype": cfg.stage.dtype, "gguf": list(kinds_of(cfg))}


def copied(cfg: Whole, context: Context, source: Source) -> dict[str, Any]:
    """A quantised model's file under the name that says its kind. Raises AlborError when other kinds are wanted."""
    from albor.models.companions import copy_companions

    if cfg.stage.gguf:
        raise AlborError(
            "the model is a GGUF file already, and is not quantised again",
            "leave stage.gguf out, or export the model that it was made of: stage.of=prune",
            place="stage.gguf",
        )
    assert source.gguf is not None
    known = source.made[1].facts if source.made else {}
    name = gguf_name(known["kind"]) if "kind" in known else source.gguf.name
    shutil.copyfile(source.gguf, context.out / name)
    copy_companions(source.path, context.out)
    kept = ("parameters", "vocab_size", "tokenizer_sha256", "bits_per_weight")
    return {**{key: known[key] for key in kept if key in known}, "dtype": None, "gguf": [known.get("kind")]}


def progress(context: Context, what: str) -> Callable[[int, int], None]:
    return lambda done, total: context.progress(done, total, what)


def gguf_name(kind: str) -> str:
    """As the Hub and llama.cpp look for a kind."""
    return f"model-{kind.upper()}.gguf"


def card_of(cfg: Whole, context: Context, source: Source, facts: Facts) -> ModelCard:
    """The card; numbers are those of the evaluation of these weights, and of nothing else."""
    from albor.audit import card
    from albor.audit.evaluations import Evaluation
    from albor.audit.facts import gather

    evaluations = []
    if source.evaluation:
        measured, said = source.evaluation.path.parent, generated(source.evaluation)
        evaluations = [Evaluation(Run(measured, load(measured)), Run(said, load(said)))]
    return card.card_of(
        source.path,
        gather(Run(*source.made)) if source.made else None,
        evaluations,
        card.Wanted(licence=cfg.stage.licence, base_models=cfg.stage.base_models),
        card.Exported(directory=context.out, dtype=facts["dtype"], parameters=facts.get("parameters")),
    )


STAGE = Stage(
    name="export",
    version=1,
    makes="export",
    config=Config,
    reads=(),
    label=lambda cfg: f"{cfg.model.name}-{cfg.stage.of}",
    inputs=inputs,
    requires=requires,
    cost=cost,
    run=run,
)
