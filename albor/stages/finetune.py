"""A model that answers: taught by examples, by adapters or whole. The rung instruct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.finetune import Lora
from albor.config.types import Text
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.stages import pretrain
from albor.stages.base import Context, Facts, Stage, Upstream


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the finetune stage alone."""

    name: Literal["finetune"] = "finetune"
    """The stage's name."""
    of: Text = "distill"
    """The stage whose model is taught."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    return {
        "rows": Upstream(stage="instructions", makes="instructions"),
        "tokenizer": "tokenizer",
        "init_from": Upstream(stage=cfg.stage.of, makes="model", key="stage.of"),
    }


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """Raises AlborError when adapters are wanted and what makes them is not installed."""
    if isinstance(cfg.finetune, Lora) and find_spec("peft") is None:
        raise AlborError("the package peft is not installed", "pip install 'albor[finetune]'", code="E-MODEL")


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.chat import CHAT_TEMPLATE
    from albor.data.instruction_rows import InstructionRows
    from albor.training import finetune
    from albor.training.chat_rows import with_learnable_end

    job, codec = pretrain.prepare_training(cfg, context, "finetune", rows_of=InstructionRows)
    weights = pretrain.initial_weights(cfg, context)
    assert weights is not None and codec.chat is not None  # instructions without chat tokens are not packed
    start = with_learnable_end(weights, codec.chat, codec.eos_id, seed=cfg.seed)
    trained = finetune.fit(cfg.model, job, start, cfg.finetune)
    facts = pretrain.finish(cfg.model, context, job, codec, trained)
    if trained.rank == 0:
        write_text(context.out / "chat_template.jinja", CHAT_TEMPLATE)
    return facts


STAGE = Stage(
    name="finetune",
    version=1,
    makes="model",
    config=Config,
    reads=(*pretrain.READS, "init_from", "finetune"),
    label=lambda cfg: f"{cfg.model.name}-{cfg.finetune.kind}",
    inputs=inputs,
    requires=requires,
    run=run,
    cost=pretrain.cost,
    resumable=True,
    distributed=True,
)
