"""A small store with all that an audit looks at: trained twice apart, searched for a benchmark."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from albor.runs import manifest
from albor.runs.store import Run, Store
from tests.command import albor

TRAINED = (
    "debug=default",
    "tracking=none",
    "data.max_documents=24",
    "tokenizer.vocab_size=512",
    "model.vocab_size=512",
    "trainer.deterministic=true",
    "trainer.max_steps=240",
    "trainer.micro_batch_size=8",
    "trainer.epochs=4",
    "trainer.warmup_steps=10",
    "trainer.val_every=80",
    "trainer.save_every=120",
    "evals.data_dir=benchmarks",
)
ITEM = (
    "def never_seen_before(first, second):\n    return [first + second * number for number in range(first, second)]\n"
)
HOLES = "".join(
    json.dumps({"prompt": f"def unheard_of_{n}(a, b):\n", "body": [f"    c = a + {n} * b", "    return c"]}) + "\n"
    for n in range(4)
)
MEASURED = (
    "stage=eval",
    "eval.max_rows=null",
    "task=[perplexity,samples,santacoder_fim]",
    "task.santacoder_fim.file=holes.jsonl",
    f"task.santacoder_fim.sha256={hashlib.sha256(HOLES.encode()).hexdigest()}",
)
CODE = {"git_commit": "c0ffee", "git_dirty": False, "lock_sha256": hashlib.sha256(b"torch").hexdigest()}
"""Recorded of the code that made the runs, whatever the checkout that is tested looks like."""
TARGETS = (MEASURED, ("stage=pretrain", "outputs=outputs/again"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory whose ``outputs`` is the store."""
    place = tmp_path_factory.mktemp("audited")
    (place / "benchmarks").mkdir()
    (place / "benchmarks" / "humaneval.jsonl").write_text(json.dumps({"prompt": ITEM}) + "\n")
    (place / "benchmarks" / "holes.jsonl").write_text(HOLES)
    for target in TARGETS:
        if target[-1].startswith("outputs="):
            for stage in ("prepare", "tokenizer", "pack"):
                shutil.copytree(place / "outputs" / stage, place / "outputs" / "again" / stage)
        done = albor(*TRAINED, *target, cwd=place)
        assert done.returncode == 0, done.stderr
    for run in (run for store in ("outputs", "outputs/again") for run in Store(place / store).runs()):
        manifest.save(run.directory, replace(run.manifest, environment=run.manifest.environment | CODE))
    return place


@pytest.fixture
def store(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store that a test may spoil, and of the benchmarks beside it."""
    for name in ("outputs", "benchmarks"):
        shutil.copytree(built / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@pytest.fixture
def run_of(store: Path) -> Callable[[str], Run]:
    """The run of a stage in the copy."""
    return lambda stage: next(run for run in Store(store).runs() if run.manifest.stage == stage)
