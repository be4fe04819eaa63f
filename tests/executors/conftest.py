"""Every executor, running for real on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from albor.config.schema.run import LocalExecutor, RayExecutor, SlurmExecutor
from albor.executors import Executor, open_executor
from tests.cluster.slurm import NEEDS_SLURM


def needs(module: str) -> pytest.MarkDecorator:
    reason = f'{module} is not installed: pip install "albor[cluster]"'
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=reason)


SLURM = SlurmExecutor(workers=2, memory=2**28)
RAY = (needs("ray"), pytest.mark.xdist_group("ray"))
"""One cluster for all that need one: it takes seconds to start."""


@pytest.fixture(scope="session")
def ray_executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    with open_executor(RayExecutor(workers=2), directory=tmp_path_factory.mktemp("ray")) as executor:
        yield executor


@pytest.fixture(
    params=[
        "inline",
        "local",
        pytest.param("ray", marks=[*RAY, pytest.mark.slow]),
        pytest.param("slurm", marks=NEEDS_SLURM),
    ]
)
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    match request.param:
        case "ray":
            yield request.getfixturevalue("ray_executor")
        case "slurm":
            request.getfixturevalue("slurm")
            with open_executor(SLURM, directory=tmp_path) as array:
                yield array
        case kind:
            with open_executor(LocalExecutor(workers=1 if kind == "inline" else 2), directory=tmp_path) as local:
                yield local
