"""One model of several: weights in, weights out, nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.stages import base as stages
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

BASE = "base"
"""The input that differences are taken from."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the merge stage alone."""

    name: Literal["merge"] = "merge"
    """The stage's name."""
    of: Annotated[tuple[Text, ...], MinLen(1)] = ("distill", "finetune")
    """What is merged, in this order: stages, runs or directories."""
    base: Text = "pretrain"
    """What the models started from, for methods that merge differences: a stage, a run or a directory."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    needed: dict[str, str | Upstream] = {f"model_{n}": one_of(text) for n, text in enumerate(cfg.stage.of, start=1)}
    if cfg.merge.needs_base:
        needed[BASE] = one_of(cfg.stage.base)
    return needed


def one_of(text: str) -> Upstream:
    """A stage of the target by its name, or else a run or directory that is there."""
    if text in stages.names():
        return Upstream(stage=text, makes="model", key="stage.of")
    return Upstream(stage=None, makes="model", default=text, key="stage.of")


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    return Cost(disk=4 * cfg.model.num_parameters)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.models.companions import copy_companions, describe
    from albor.transforms.merge_models import merge_models

    places = [context.inputs[name].path for name in inputs(cfg) if name != BASE]
    base = context.inputs[BASE].path if cfg.merge.needs_base else None
    merge_models(
        cfg.merge,
        places,
        base,
        context.out,
        seed=cfg.seed,
        progress=lambda done, total: context.progress(done, total, "numbers"),
    )
    copy_companions(places[-1], context.out)
    return {**describe(context.out), "method": cfg.merge.kind, "models": len(places)}


STAGE = Stage(
    name="merge",
    version=1,
    makes="model",
    config=Config,
    reads=("merge", "seed"),
    label=lambda cfg: f"{cfg.model.name}-{cfg.merge.kind}",
    inputs=inputs,
    cost=cost,
    run=run,
)
