"""A student that learns from a teacher: the rung after base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.distill import AlborTeacher
from albor.config.types import Text
from albor.contracts.base import Case
from albor.contracts.distillation import beside
from albor.contracts.memory import teacher_bytes
from albor.errors import AlborError
from albor.runs import manifest
from albor.stages import pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

if TYPE_CHECKING:
    from torch import Tensor

    from albor.data.logits import Logits
    from albor.data.tokenizer import Codec
    from albor.models.attention import Mask
    from albor.training.distill import Teach
    from albor.training.distillation import Target


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the distill stage alone."""

    name: Literal["distill"] = "distill"
    """The stage's name."""
    of: Text | None = "pretrain"
    """The stage whose model the student starts from; null starts from random weights."""


def teacher(cfg: Whole) -> Upstream:
    """What makes the teacher: a target of its own, or nothing of albor's."""
    wanted = cfg.teacher
    if isinstance(wanted, AlborTeacher):
        target = (f"model={wanted.model}",)
        return Upstream(stage="pretrain", makes="model", target=target, address="teacher", key="teacher.model")
    place = wanted.repo if Path(wanted.repo).is_dir() else f"hf:{wanted.repo}@{wanted.revision}"
    return Upstream(stage=None, makes="model", default=place)


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    route = cfg.distill.route
    rows = Upstream(stage="teacher_text", makes="rows") if route == "text" else "pack"
    needed: dict[str, str | Upstream] = {"rows": rows, "tokenizer": "tokenizer"}
    if cfg.stage.of:
        needed["init_from"] = Upstream(stage=cfg.stage.of, makes="model", key="stage.of")
    if route == "online":
        needed["teacher"] = teacher(cfg)
    elif route in ("offline", "alignment"):
        needed["logits"] = "teacher_logits"
    return needed


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    return with_teacher(pretrain.cost(cfg, given), Case(cfg, "distill", given))


def with_teacher(found: Cost, case: Case) -> Cost:
    """Training's cost, and the teacher's forward passes and weights when it computes beside the student."""
    memory = None if found.memory is None else found.memory + teacher_bytes(beside(case), case.cfg.trainer)
    if not found.tokens or not found.flops:
        return replace(found, memory=memory)
    more = 2.0 * beside(case, active=True) * found.tokens
    seconds = None if found.seconds is None else found.seconds * (1 + more / found.flops)
    return replace(found, flops=found.flops + more, seconds=seconds, memory=memory)


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """A teacher from the Hub is fetched, one in a directory looked at, before anything is made. Raises AlborError."""
    if cfg.distill.route == "online":
        fetch_teacher(cfg, given)


def fetch_teacher(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The teacher that is an input, or that would be. Raises AlborError."""
    from albor.models.hub import fetch

    named = cfg.inputs.get("teacher") or teacher(cfg).default
    if named is None:
        return
    if named.startswith("hf:"):
        refuse_unusable(fetch(named.removeprefix("hf:")))
    elif (place := Path(named.removeprefix("file://"))).is_dir() and not (place / manifest.NAME).exists():
        refuse_unusable(place)


def refuse_unusable(directory: Path) -> None:
    """Raises AlborError for a teacher whose weights or code are not to be trusted."""
    from albor.training.teacher import is_ours, refuse_unsafe

    if not is_ours(directory):
        refuse_unsafe(directory)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.training import distill
    from albor.training import pretrain as plain

    stored = stored_beside(cfg, context)
    job, codec = pretrain.prepare_training(cfg, context, "distill", beside=stored)
    start = pretrain.initial_weights(cfg, context)
    match cfg.distill.route:
        case "online":
            trained = distill.fit(cfg.model, job, start, cfg.distill, live(cfg, context, codec))
        case "offline":
            assert stored is not None
            trained = distill.fit(cfg.model, job, start, cfg.distill, written(stored))
        case "alignment":
            trained = distill.fit_aligned(cfg.model, job, start, cfg.distill)
        case "text":
            trained = plain.fit(cfg.model, job, start)
    return pretrain.finish(cfg.model, context, job, codec, trained)


def stored_beside(cfg: Whole, context: Context) -> Logits | None:
    """What is stored of the teacher's probabilities of the run's rows; None where nothing is.

    Raises AlborError when they are not of these rows.
    """
    from albor.data.logits import SPLIT, Logits
    from albor.data.parquet import shards

    given = context.inputs.get("logits")
    if given is None:
        return None
    found, rows = Logits(shards(given.path, SPLIT)), context.inputs["rows"].facts.get("num_sequences")
    if len(found) != rows:
        message = f"{given.path} holds logits of {len(found):,} rows, and {rows:,} are trained on"
        raise AlborError(message, "make them again: stage=teacher_logits", code="C-DISTILL-005")
    return found


def written(stored: Logits) -> Teach:
    """A teacher whose probabilities were stored."""
    from albor.training.distillation import Sampled, TopK

    keep = stored.layout.keep

    def teach(tokens: Tensor, mask: Mask, brought: tuple[Tensor, ...]) -> Target:
        flat = [tensor.flatten(0, 1) for tensor in brought]
        return Sampled(flat[0]) if keep == "sampled" else TopK(flat[0], flat[1])

    return teach


def live(cfg: Whole, context: Context, codec: Codec) -> Teach:
    """A teacher that computes beside the student. Raises AlborError when it speaks of other tokens."""
    place = pretrain.local(context.inputs["teacher"])
    refuse_other_tokens(codec, place)
    return taught_by(place, cfg)


def taught_by(place: Path, cfg: Whole) -> Teach:
    """The model of a directory as a teacher."""
    import torch

    from albor.training.distillation import Live
    from albor.training.run import DTYPES
    from albor.training.teacher import Teacher, load_teacher

    known: list[Teacher] = []

    def teach(tokens: Tensor, mask: Mask, brought: tuple[Tensor, ...]) -> Target:
        if not known:  # the device is known with the first batch
            dtype, compiled = DTYPES[cfg.trainer.precision], cfg.trainer.compile
            known.append(load_teacher(place, dtype=dtype, device=tokens.device, compile=compiled))
        with torch.no_grad():
            hidden = known[0].hidden(tokens, mask).flatten(0, 1)
        return Live(hidden, known[0].head, cfg.distill.divergence)

    return teach


def refuse_other_tokens(codec: Codec, teacher: Path) -> None:
    """Raises AlborError when a number is not the same token to the teacher as to the student (C-DISTILL-001)."""
    from albor.contracts.distillation import OTHER_TOKENS
    from albor.data.tokenizer import Codec

    theirs = Codec.of_model(teacher)
    if theirs.vocabulary != codec.vocabulary:
        raise AlborError(f"the teacher {teacher} has another tokenizer", OTHER_TOKENS, code="C-DISTILL-001")


STAGE = Stage(
    name="distill",
    version=1,
    makes="model",
    config=Config,
    reads=(*pretrain.READS, "init_from", "teacher", "distill"),
    label=lambda cfg: cfg.model.name,
    inputs=inputs,
    requires=requires,
    run=run,
    cost=cost,
    resumable=True,
    distributed=True,
    accelerated=True,
)
