"""z-loss, the document mask, dropout and activation checkpointing over whole runs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from albor.config.schema.optim import AdamW
from albor.models.attention import documents
from albor.models.decoder import Decoder
from albor.training.job import Metrics
from albor.training.pretrain import fit

from .toy import MODEL, ToyBatches, equal, validation, weights

DROPPING = replace(MODEL, dropout=0.3)
STILL = AdamW(lr=1e-12, weight_decay=0.0)


# --- z-loss ---


def test_z_loss_is_trained_with_and_not_reported_as_cross_entropy(job, tmp_path) -> None:
    first: list[dict[float, Metrics]] = [{}, {}]
    for z_loss in (0.0, 0.1):
        lines: list[Metrics] = []
        fit(MODEL, job(total_steps=1, log_every=1, z_loss=z_loss, log=lines.append, directory=tmp_path / str(z_loss)))
        first[0][z_loss], first[1][z_loss] = lines[:2]
    validated, trained = first
    assert validated[0.0]["val_loss"] == validated[0.1]["val_loss"] == pytest.approx(math.log(61), rel=0.02)
    added = trained[0.1]["loss"] - trained[0.0]["loss"]  # of logits near 0: Z is the vocabulary
    assert added == pytest.approx(0.1 * math.log(61) ** 2, rel=0.02)
    assert trained[0.1]["grad_norm"] != trained[0.0]["grad_norm"]


def test_z_loss_accumulates_as_in_one_large_batch(job, tmp_path) -> None:
    """Also when the micro-batches differ in the number of their labels: it is a mean over all of them."""

    class Ragged(ToyBatches):
        def __iter__(self):
            for tokens, labels in super().__iter__():
                yield tokens, np.where((tokens % 3 == 0) & (tokens < 30), -100, labels)

    def run(micro: int, accum: int) -> tuple[dict[str, Tensor], list[float]]:
        lines: list[Metrics] = []
        made = job(total_steps=3, micro_batch_size=micro, grad_accum=accum, directory=tmp_path / str(micro), z_loss=0.3,
                   train=lambda rank, world: Ragged(32, micro, seed=1), optim=AdamW(lr=1e-3, eps=1e-3), log_every=1,
                   log=lines.append)  # fmt: skip
        return weights(fit(MODEL, made)), [line["loss"] for line in lines if "loss" in line]

    (large, losses), (small, others) = run(8, 1), run(2, 4)
    assert others == pytest.approx(losses, rel=1e-5)
    for name in large:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6)


# --- the document mask ---


def test_the_document_mask_is_trained_and_validated_with(job, tmp_path) -> None:
    torch.manual_seed(9)
    decoder = Decoder(replace(MODEL, initializer_range=0.5))
    tokens, labels = (torch.from_numpy(np.concatenate(parts))[:6] for parts in zip(*validation(), strict=True))
    eos = int(tokens[0, 7])
    found: dict[bool, list[Metrics]] = {}
    for masked in (False, True):
        found[masked] = []
        made = job(total_steps=1, log_every=1, document_mask=masked, eos_id=eos, directory=tmp_path / str(masked),
                   optim=STILL, log=found[masked].append)  # fmt: skip
        fit(decoder.config, made, decoder.state_dict())
        with torch.no_grad():
            expected = decoder.loss_sum(tokens, labels, documents(tokens, eos) if masked else None) / labels.numel()
        assert found[masked][0]["val_loss"] == pytest.approx(expected.item(), rel=1e-5)
    for line, key in ((0, "val_loss"), (1, "loss"), (1, "grad_norm")):
        assert found[True][line][key] != pytest.approx(found[False][line][key], rel=1e-4)


# --- dropout ---


def test_dropout_repeats_with_its_seed_and_changes_what_is_learnt(job, tmp_path) -> None:
    runs = [
        weights(fit(model, job(directory=tmp_path / str(n)))) for n, model in enumerate((DROPPING, DROPPING, MODEL))
    ]
    assert equal(runs[0], runs[1]) and not equal(runs[0], runs[2])


def test_how_often_a_run_validates_saves_and_logs_drops_nothing_else(job, tmp_path) -> None:
    often = job(val_every=1, save_every=1, log_every=1, directory=tmp_path / "often")
    seldom = job(val_every=12, save_every=12, log_every=12, directory=tmp_path / "seldom")
    assert equal(*(weights(fit(DROPPING, made)) for made in (often, seldom)))


@pytest.mark.parametrize(
    ("stop", "checkpointing"),
    [
        (1, False),
        (7, True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, True), (7, False), (8, False), (8, True))),
    ],
)
def test_a_resumed_run_goes_on_dropping_where_it_was(job, tmp_path, stop, checkpointing) -> None:
    whole = fit(DROPPING, job(activation_checkpointing=checkpointing, directory=tmp_path / "whole"))
    assert fit(DROPPING, job(activation_checkpointing=checkpointing, stop_at=stop)).result["steps"] == stop
    torch.manual_seed(123)  # what the process drew in between
    parts = fit(DROPPING, job(activation_checkpointing=checkpointing))
    assert equal(weights(whole), weights(parts))
    assert parts.result["val_loss"] == whole.result["val_loss"]


def test_every_rank_drops_something_else_from_the_same_weights(job, tmp_path, monkeypatch) -> None:
    """Each rank is given the same rows here, so that nothing but dropout can differ."""

    def run(model: Any, rank: int) -> Any:
        monkeypatch.setenv("RANK", str(rank))
        made = job(total_steps=2, directory=tmp_path / f"{model.dropout}-{rank}",
                   train=lambda rank, world: ToyBatches(22, 4, seed=42))  # fmt: skip
        return fit(model, made)

    dropping, plain = ([run(model, rank) for rank in (0, 1)] for model in (DROPPING, MODEL))
    assert equal(*map(weights, plain)) and not equal(*map(weights, dropping))
    assert dropping[0].result["initial_val_loss"] == dropping[1].result["initial_val_loss"]


# --- activation checkpointing ---


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "bf16"])
def test_activation_checkpointing_trains_the_same_weights(job, tmp_path, precision) -> None:
    changes = {"precision": precision, "z_loss": 1e-2, "document_mask": True, "eos_id": 30}
    kept, recomputed = (
        weights(fit(DROPPING, job(activation_checkpointing=flag, directory=tmp_path / str(flag), **changes)))
        for flag in (False, True)
    )
    assert equal(kept, recomputed)
