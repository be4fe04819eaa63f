import dataclasses
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from albor.models.decoder import Decoder
from albor.training import optimizers
from albor.training.job import Job

from .toy import MODEL, toy_job

# A busy machine is no defect.
settings.register_profile("training", deadline=None)
settings.load_profile("training")


@pytest.fixture(autouse=True)
def nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training collects garbage before its first step, which takes longer than the run here, where all of pytest is
    looked through. Processes that tests start do it."""
    still = SimpleNamespace(collect=lambda: 0, freeze=lambda: None, unfreeze=lambda: None)
    monkeypatch.setattr("albor.training.base.gc", still)


@pytest.fixture(scope="session")
def init() -> dict[str, Tensor]:
    """Weights whose embeddings are as large as those of a trained model: adapters cannot change them."""
    torch.manual_seed(5)
    return Decoder(dataclasses.replace(MODEL, initializer_range=0.2)).state_dict()


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a small job whose metrics are collected in ``job.lines``; keywords change the job or its trainer."""

    def make(**changes) -> Job:
        trainer = {name: changes.pop(name) for name in list(changes) if hasattr(toy_job(tmp_path).trainer, name)}
        made = toy_job(tmp_path / "checkpoints")
        return dataclasses.replace(made, trainer=dataclasses.replace(made.trainer, **trainer), **changes)

    return make


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """Makes a weight's gradient not a number at the given steps, counted from this call."""

    def make(steps: set[int]) -> None:
        clip, step = optimizers.Clip.__call__, count(1)

        def poisoned(self, parameters):
            parameters = list(parameters)
            if next(step) in steps:
                parameters[0].grad[0] = torch.nan
            return clip(self, parameters)

        monkeypatch.setattr(optimizers.Clip, "__call__", poisoned)

    return make
