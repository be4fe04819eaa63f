"""A base model trained from scratch, or from ``init_from``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from albor.config.budget import budget
from albor.config.schema.config import Config as Whole
from albor.config.schema.model import Model
from albor.contracts import CONTRACTS, Case, causes
from albor.contracts.memory import checkpoint_bytes, training_bytes
from albor.errors import AlborError
from albor.runs import checkpoints, manifest
from albor.runs.files import sha256_file
from albor.stages.base import Context, Cost, Facts, Input, Interrupted, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from albor.data.loader import Beside
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec
    from albor.training.job import Job
    from albor.training.run import Trained


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the pretrain stage alone."""

    name: Literal["pretrain"] = "pretrain"
    """The stage's name."""


def cost(cfg: Whole, inputs: Mapping[str, Facts]) -> Cost:
    b = Case(cfg, "pretrain", inputs).budget
    flops = float(b.total_tokens * cfg.model.flops_per_token(cfg.data.seq_len))
    peak = getattr(cfg.hardware.peak_flops, cfg.trainer.precision) or 0.0
    speed = peak * cfg.hardware.mfu * cfg.trainer.world_size
    if not b.wanted:  # the steps of epochs whose rows are not known
        return Cost(memory=training_bytes(cfg.model, cfg.trainer, cfg.data.seq_len, cfg.optim))
    return Cost(
        parameters=cfg.model.num_parameters,
        tensors=cfg.model.num_tensors,
        tokens=b.total_tokens,
        flops=flops,
        memory=training_bytes(cfg.model, cfg.trainer, cfg.data.seq_len, cfg.optim),
        disk=checkpoint_bytes(cfg.model, cfg.trainer),
        seconds=flops / speed if speed else None,
    )


def run(cfg: Whole, context: Context) -> Facts:
    from albor.training import pretrain

    job, codec = prepare_training(cfg, context, "pretrain")
    return finish(cfg.model, context, job, codec, pretrain.fit(cfg.model, job, initial_weights(cfg, context)))


def finish(model: Model, context: Context, job: Job, codec: Codec, trained: Trained) -> Facts:
    """Writes what was trained as the run's artifact, on rank 0. Raises Interrupted when steps are left."""
    from albor.models.checkpoint import save_model

    if trained.result["interrupted"] or job.stop_at is not None:
        raise Interrupted(f"after step {trained.result['steps']:,}")
    if trained.rank:
        return {}
    save_model(model, trained.weights, context.out, eos_token_id=codec.eos_id, pad_token_id=codec.pad_id)
    codec.save(context.out)
    return {
        "parameters": model.num_parameters,
        "vocab_size": model.vocab_size,
        "tokenizer_sha256": sha256_file(context.out / "tokenizer.json"),
        **trained.result,
    }


def prepare_training(
    cfg: Whole,
    context: Context,
    stage: str,
    *,
    model: Model | None = None,
    rows_of: type[Rows] | None = None,
    beside: Beside | None = None,
    val_len: int | None = None,
) -> tuple[Job, Codec]:
    """The job of a stage that trains on rows, and their tokenizer.

    ``model`` where it is not the config's, ``rows_of`` another kind of rows, ``beside`` what is stored of them;
    validation reads ``val_len`` tokens of a row where that is not data.seq_len.
    """
    import torch

    from albor.data.loader import Batches, sequential
    from albor.data.parquet import shards
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec
    from albor.models.llama_config import CONFIG_FILE, config_text
    from albor.training.job import Job

    rows = context.inputs["rows"]
    codec = Codec.load(context.inputs["tokenizer"].path)
    train, val = ((rows_of or Rows)(shards(rows.path, split)) for split in ("train", "val"))
    steps = budget(
        cfg.trainer,
        seq_len=cfg.data.seq_len,
        num_parameters=cfg.model.num_parameters,
        num_sequences=len(train),
    ).actual
    files = {
        CONFIG_FILE: config_text(
            model or cfg.model, dtype=torch.float32, eos_token_id=codec.eos_id, pad_token_id=codec.pad_id
        ),
        checkpoints.RUN: (context.directory / manifest.NAME).read_text(encoding="utf-8"),
        **codec.files(),
    }
    job = Job(
        name=f"{context.directory.parent.name}/{context.directory.name}",
        optim=cfg.optim,
        trainer=cfg.trainer,
        total_steps=steps,
        stop_at=context.stop_at,
        seq_len=cfg.data.seq_len,
        seed=cfg.seed,
        train=lambda rank, world: Batches(
            train,
            batch_size=cfg.trainer.micro_batch_size * world,
            seq_len=cfg.data.seq_len,
            seed=cfg.seed,
            rank=rank,
            world_size=world,
            dataset=rows.digest or rows.id,
            beside=beside,
        ),
        validation=lambda: sequential(
            val, batch_size=cfg.trainer.micro_batch_size, seq_len=val_len or cfg.data.seq_len
        ),
        directory=context.directory / checkpoints.DIRECTORY,
        log=context.log,
        files=files,
        peak_flops=peak_flops(cfg),
        alerts=cfg.alerts,
        plateau_causes=causes(Case(cfg, stage, {name: i.facts for name, i in context.inputs.items()})),
        eos_id=codec.eos_id,
        val_bytes_per_token=bytes_per_token(rows.facts),
        progress=lambda step, total, metrics: context.progress(step, total, summary(metrics)),
    )
    return job, codec


def initial_weights(cfg: Whole, context: Context) -> Mapping[str, Tensor] | None:
    """Those of the run's init_from; None: random ones."""
    from albor.models.checkpoint import load_weights
    from albor.models.llama_config import read_config

    given = context.inputs.get("init_from")
    if given is None:
        return None
    place = local(given)
    refuse_other_shape(cfg, read_config(place))
    return load_weights(place, cfg.model)


def local(given: Input) -> Path:
    """The directory of a model, fetched from the Hub when it is there."""
    from albor.models.hub import fetch

    return fetch(str(given.path)) if given.id.startswith("hf:") else given.path


def peak_flops(cfg: Whole) -> float | None:
    """Of all devices together, by the hardware's table: bf16's also for fp8, so that shares compare."""
    if cfg.trainer.accelerator != cfg.hardware.accelerator:
        return None
    peaks = cfg.hardware.peak_flops
    peak = peaks.float32 if cfg.trainer.precision == "float32" else peaks.bf16
    return peak * cfg.trainer.world_size if peak else None


def refuse_other_shape(cfg: Whole, theirs: Model) -> None:
    """C-MODEL-004 on the checkpoint itself: weights from the Hub are seen only now. Raises AlborError."""
    case = Case(cfg, "pretrain", {"init_from": {"model_config": vars(theirs)}})
    for finding in CONTRACTS["C-MODEL-004"].findings(case):
        raise AlborError(finding.message, finding.help, place=finding.path, code=finding.id)


def bytes_per_token(facts: Facts) -> float | None:
    """UTF-8 bytes per validation token; None for rows that do not say."""
    tokens, size = facts.get("val_learnt_tokens", facts.get("val_tokens")), facts.get("val_bytes")
    return size / tokens if tokens and size else None


def summary(metrics: Mapping[str, float | int]) -> str:
    """The latest numbers for the progress line."""
    formats = {
        "loss": "loss {:.3f}",
        "val_ppl": "val ppl {:.5g}",
        "lr": "lr {:.2e}",
        "tokens_per_second": "{:,.0f} tok/s",
    }
    return "  ".join(form.format(metrics[key]) for key, form in formats.items() if key in metrics)


READS = ("model", "data.seq_len", "optim", "trainer", "seed")
"""What every stage that trains depends on."""
STAGE = Stage(
    name="pretrain",
    version=4,
    makes="model",
    config=Config,
    reads=(*READS, "init_from"),
    label=lambda cfg: cfg.model.name,
    inputs=lambda cfg: {"rows": "pack", "tokenizer": "tokenizer"},
    run=run,
    cost=cost,
    resumable=True,
    distributed=True,
    accelerated=True,
)
