"""A smaller model, or a sparser one. What changes its shape is followed by learning from the unpruned model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.prune import Magnitude
from albor.config.sizes import pruned_shape
from albor.config.types import Text
from albor.contracts.base import Case, recovers
from albor.errors import AlborError
from albor.stages import distill, pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

if TYPE_CHECKING:
    from torch import Tensor

    from albor.transforms.prune_model import Pruned


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the prune stage alone."""

    name: Literal["prune"] = "prune"
    """The stage's name."""
    of: Text = "merge"
    """The stage whose model is pruned."""
    recover: bool = True
    """Learn from the unpruned model what the smaller one has lost, for as long as the trainer says; never after zeros:
    they would not stay."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    return {
        "rows": "pack",
        "tokenizer": "tokenizer",
        "model": Upstream(stage=cfg.stage.of, makes="model", key="stage.of"),
    }


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    """What is left, and what its recovery takes."""
    try:
        left = pruned_shape(cfg.model, cfg.prune)
    except AlborError:
        return Cost()  # C-PRUNE-001 says why
    notes = (f"{left.num_parameters:,} of {cfg.model.num_parameters:,} parameters stay",)
    recovery = Case(cfg, "prune", given).recovery
    if recovery is None:
        return Cost(disk=4 * left.num_parameters, notes=notes)
    trained = distill.with_teacher(pretrain.cost(recovery.cfg, given), recovery)
    return replace(trained, parameters=None, notes=notes)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.models.companions import copy_companions, describe

    given = context.inputs["model"].path
    found = prune(cfg, context, given)
    facts: dict[str, Any] = {"method": cfg.prune.kind, "savings": asdict(found.savings), "blocks": list(found.blocks)}
    if recovers(cfg) and found.config != cfg.model:
        facts |= recover(cfg, context, given, found)
    else:
        save(found, context.out, like=given)
    copy_companions(given, context.out)
    return {**describe(context.out), **facts}


def prune(cfg: Whole, context: Context, given: Path) -> Pruned:
    from albor.models.checkpoint import load_model
    from albor.transforms.prune_model import prune_model

    return prune_model(
        cfg.prune,
        load_model(given, device=cfg.trainer.accelerator),
        calibration(cfg, context),
        progress=lambda done, total: context.progress(done, total, "blocks"),
    )


def calibration(cfg: Whole, context: Context) -> Iterator[Tensor]:
    """Rows of training text, drawn by the seed."""
    import torch

    from albor.data.loader import Batches
    from albor.data.parquet import shards
    from albor.data.rows import Rows

    if isinstance(cfg.prune, Magnitude):
        return
    rows = Rows(shards(context.inputs["rows"].path, "train"))
    size = min(cfg.trainer.micro_batch_size, len(rows))
    batches = iter(Batches(rows, batch_size=size, seq_len=cfg.data.seq_len, seed=cfg.seed))
    for _ in range(max(1, min(cfg.prune.calibration_rows, len(rows)) // size)):
        yield torch.from_numpy(next(batches)[0]).to(cfg.trainer.accelerator)


def save(found: Pruned, out: Path, *, like: Path) -> None:
    from albor.models.checkpoint import save_model
    from albor.models.llama_config import CONFIG_FILE, read_json

    known = read_json(like / CONFIG_FILE)
    eos, pad = known.get("eos_token_id"), known.get("pad_token_id")
    save_model(found.config, found.weights, out, eos_token_id=eos, pad_token_id=pad)


def recover(cfg: Whole, context: Context, given: Path, found: Pruned) -> Facts:
    """Trains what is left on what the unpruned model says, and writes it; what it lost is the first validation."""
    from albor.training.distill import fit

    job, codec = pretrain.prepare_training(cfg, context, "prune", model=found.config)
    weights = {name: tensor.float().cpu() for name, tensor in found.weights.items()}
    trained = fit(found.config, job, weights, cfg.distill, distill.taught_by(given, cfg))
    return pretrain.finish(found.config, context, job, codec, trained)


STAGE = Stage(
    name="prune",
    version=1,
    makes="model",
    config=Config,
    reads=(*pretrain.READS, "prune", "distill"),
    label=lambda cfg: f"{cfg.model.name}-{cfg.prune.kind}",
    inputs=inputs,
    cost=cost,
    run=run,
    accelerated=True,
    resumable=True,
)
