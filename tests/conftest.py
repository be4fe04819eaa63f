"""The command line in-process, and a planner whose composed configs all tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from albor.cli.main import run
from albor.config.compose import Composer
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver

from .browser import driven
from .cluster.slurm import cluster
from .outcomes import pytest_collection_modifyitems, pytest_configure  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The workers take all cores: with more threads each waits for the others, and training takes ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests are no garbage: every worker would look through them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@pytest.fixture
def albor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], resolver: Resolver
) -> Callable[..., Outcome]:
    """Runs ``albor WORDS`` in an empty working directory. What is composed of our own files alone, is composed once."""
    monkeypatch.chdir(tmp_path)

    def composer(search_path: Sequence[str]) -> Composer:
        made = Composer(search_path)
        if made.directories == resolver.composer.directories:
            made._composed = resolver.composer._composed
        return made

    monkeypatch.setattr("albor.cli.session.Composer", composer)

    def call(*words: str) -> Outcome:
        capsys.readouterr()
        code = run(list(words))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser, None, None]:
    with driven() as browser:
        yield browser


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path, None, None]:
    """A Slurm of two nodes; see ``tests/cluster/slurm.py`` for what marks a test that needs it."""
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as settings:
        yield settings


@pytest.fixture
def slurm(slurm_cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cluster, as this process's and its children's: SLURM_CONF."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_cluster))
    return slurm_cluster


@pytest.fixture(scope="session")
def resolver() -> Resolver:
    return Resolver(Composer())


@pytest.fixture
def planner(resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """A planner in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return Planner(resolver)
