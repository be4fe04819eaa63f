"""Whole runs in fp8, on a GPU or in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from albor.training.checkpoint import load_latest
from albor.training.job import Job, Metrics
from albor.training.pretrain import fit
from tests.models.triton_device import DEVICE, NEEDS_FP8, NEEDS_KERNELS, rounding_as_on_a_device

from .toy import MODEL, weights

pytestmark = [*NEEDS_KERNELS, NEEDS_FP8]


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    from albor.models import kernels  # noqa: F401 - registers the operators

    with rounding_as_on_a_device():
        yield
    torch.use_deterministic_algorithms(False)  # a deterministic run switches the whole process


@pytest.fixture
def fp8_job(job) -> Callable[..., Job]:
    def make(**changes) -> Job:
        made: Job = job(**{"accelerator": DEVICE.type, "precision": "fp8", "deterministic": True, **changes})
        return made

    return make


def test_it_learns_as_bf16_does(fp8_job, tmp_path) -> None:
    found = {}
    for precision in ("bf16", "fp8"):
        lines: list[Metrics] = []
        made = fp8_job(
            total_steps=20, precision=precision, log_every=1, log=lines.append, directory=tmp_path / precision
        )
        assert {tensor.dtype for tensor in fit(MODEL, made).weights.values()} == {torch.float32}
        found[precision] = [line["loss"] for line in lines if "loss" in line]
    assert found["fp8"] == pytest.approx(found["bf16"], rel=0.02) and found["fp8"] != found["bf16"]
    assert found["fp8"][-1] < 0.8 * found["fp8"][0]


@pytest.mark.parametrize("stop", [1, 7, 8])
def test_it_resumes_to_the_same_bits(fp8_job, tmp_path, stop) -> None:
    """Calibrating is of the run's first step, not of each start."""
    model = replace(MODEL, dropout=0.3)
    whole = weights(fit(model, fp8_job(directory=tmp_path / "whole")))
    assert fit(model, fp8_job(stop_at=stop)).result["steps"] == stop
    parts = weights(fit(model, fp8_job()))
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_a_checkpoint_has_the_magnitudes_of_every_layer(fp8_job) -> None:
    made = fp8_job()
    fit(MODEL, made)
    found = load_latest(made.directory)
    assert found is not None
    history = torch.tensor(found.state["fp8"])
    assert history.shape == (16, MODEL.num_hidden_layers, 4)
    assert (history > 0).all() and history.isfinite().all()
    assert (history[1:] != history[:-1]).any(0).all(), "each of them moves with the steps"


def test_calibrating_leaves_the_random_numbers_where_they_were(fp8_job, tmp_path) -> None:
    drawn = []
    for precision in ("bf16", "fp8"):
        made = fp8_job(total_steps=2, precision=precision, directory=tmp_path / precision)
        fit(replace(MODEL, dropout=0.3), made)
        found = load_latest(made.directory)
        assert found is not None
        drawn.append(found.state["rng"])
    assert drawn[0] == drawn[1]
