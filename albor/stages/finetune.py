"""A model that answers: taught by examples, then by preferences if wanted. The rung instruct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.finetune import Dpo, FullFinetune, Lora
from albor.config.types import Text
from albor.errors import AlborError
from albor.runs.files import write_text
from albor.stages import preferences, pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the finetune stage alone."""

    name: Literal["finetune"] = "finetune"
    """The stage's name."""
    of: Text = "distill"
    """The stage whose model is taught by examples."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """Raises AlborError when preferences are to be taught to another model than the one that they are made with."""
    if isinstance(cfg.objective, Dpo):
        refuse_other_start(cfg)
        rows = Upstream(stage="preferences", makes="preferences")
        return {"rows": rows, "tokenizer": "tokenizer", "init_from": preferences.TAUGHT}
    return {
        "rows": Upstream(stage="instructions", makes="instructions"),
        "tokenizer": "tokenizer",
        "init_from": Upstream(stage=cfg.stage.of, makes="model", key="stage.of"),
    }


def label(cfg: Whole) -> str:
    """The model and how it is taught."""
    return f"{cfg.model.name}-{cfg.finetune.kind}" + ("-dpo" if isinstance(cfg.objective, Dpo) else "")


def refuse_other_start(cfg: Whole) -> None:
    """Raises AlborError: what objective=dpo starts from is the model whose answers it compares."""
    if cfg.stage.of != Config.of:
        raise AlborError(
            "objective=dpo starts from a model that examples have taught to answer",
            f"say what that one is made of: up.{preferences.TAUGHT.address}.stage.of={cfg.stage.of}",
            place="stage.of",
            code="E-VALUE",
        )
    if cfg.init_from:
        raise AlborError(
            "objective=dpo starts from the model whose answers it compares, and init_from speaks of one of the two",
            f"inputs.init_from={cfg.init_from} is both",
            place="init_from",
            code="E-VALUE",
        )


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    """Pretraining's; with preferences also the starting weights' forward pass, and those weights if all are trained."""
    found = pretrain.cost(cfg, given)
    if not isinstance(cfg.objective, Dpo):
        return found
    more = 4 / 3  # a forward pass is a third of a step
    beside = FLOAT32 * cfg.model.num_parameters if isinstance(cfg.finetune, FullFinetune) else 0
    return replace(
        found,
        flops=None if found.flops is None else found.flops * more,
        seconds=None if found.seconds is None else found.seconds * more,
        memory=None if found.memory is None else found.memory + beside,
    )


FLOAT32 = 4
"""Bytes."""


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """Raises AlborError when adapters are wanted and what makes them is not installed."""
    if isinstance(cfg.finetune, Lora) and find_spec("peft") is None:
        raise AlborError("the package peft is not installed", "pip install 'albor[finetune]'", code="E-MODEL")


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.chat import CHAT_TEMPLATE
    from albor.data.instruction_rows import InstructionRows
    from albor.data.pairs import PairRows
    from albor.training import dpo, finetune
    from albor.training.chat_rows import with_learnable_end

    if isinstance(cfg.objective, Dpo):  # a row is a pair; validation reads its first half, the chosen answer
        half = cfg.data.seq_len // 2
        job, codec = pretrain.prepare_training(cfg, context, "finetune", rows_of=PairRows, val_len=half)
    else:
        job, codec = pretrain.prepare_training(cfg, context, "finetune", rows_of=InstructionRows)
    weights = pretrain.initial_weights(cfg, context)
    assert weights is not None and codec.chat is not None  # instructions without chat tokens are not packed
    start = with_learnable_end(weights, codec.chat, codec.eos_id, seed=cfg.seed)
    if isinstance(cfg.objective, Dpo):
        trained = dpo.fit(cfg.model, job, start, cfg.finetune, cfg.objective)
    else:
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
    reads=(*pretrain.READS, "init_from", "finetune", "objective"),
    label=label,
    inputs=inputs,
    requires=requires,
    run=run,
    cost=cost,
    resumable=True,
    distributed=True,
    accelerated=True,
)
