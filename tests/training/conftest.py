import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from albor.training.job import Job

from .toy import toy_job

# A busy machine is no defect.
settings.register_profile("training", deadline=None)
settings.load_profile("training")


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a small job whose metrics are collected in ``job.lines``; keywords change the job or its trainer."""

    def make(**changes) -> Job:
        trainer = {name: changes.pop(name) for name in list(changes) if hasattr(toy_job(tmp_path).trainer, name)}
        made = toy_job(tmp_path / "checkpoints")
        return dataclasses.replace(made, trainer=dataclasses.replace(made.trainer, **trainer), **changes)

    return make
