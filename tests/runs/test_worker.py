"""A run directory worked on by a process of its own: what it refuses, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from albor.plan import apply
from albor.plan.nodes import Planner
from albor.runs import manifest
from albor.runs.manifest import Manifest

ROOT = Path(__file__).parents[2]


def work(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "albor.exec", str(directory)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, check=False,
    )  # fmt: skip


@pytest.fixture
def directories(planner: Planner, tmp_path: Path) -> tuple[Path, Path]:
    """Of a planned tokenizer, and of the documents that it is to be made from."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("x = 1\n")
    plan = planner.plan(("stage=tokenizer", "tracking=none", "data=local", "data.source.roots=[src]",
                         "data.source.licence=MIT", "tokenizer.vocab_size=280"))  # fmt: skip
    apply.prepare(plan)
    documents, tokenizer = (node.directory for node in plan.nodes)
    return tokenizer, documents


def change(directory: Path, **changes: object) -> Manifest:
    changed = replace(manifest.load(directory), **changes)  # type: ignore[arg-type]
    manifest.save(directory, changed)
    return changed


def test_what_is_no_run_directory_is_not_made_one(tmp_path: Path) -> None:
    done = work(tmp_path / "nothing")
    assert done.returncode == 2 and "not a run directory" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_an_input_that_is_not_done_is_not_read(directories: tuple[Path, Path]) -> None:
    done = work(directories[0])
    assert done.returncode == 2 and "its input documents is planned, not done" in done.stderr


def test_a_run_that_is_done_stays_as_it_is(directories: tuple[Path, Path]) -> None:
    before = change(directories[0], status="done", finished=5.0)
    assert work(directories[0]).returncode == 0
    assert manifest.load(directories[0]) == before


def test_a_config_of_another_version_is_refused_by_its_key(directories: tuple[Path, Path]) -> None:
    config = manifest.load(directories[1]).config
    change(directories[1], config={**config, "seed": "a seed"})
    done = work(directories[1])
    assert done.returncode == 2 and "the manifest's config is not valid: seed:" in done.stderr


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "a world size of 1, these processes one of 2"),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "1"}, "more processes on this machine than trainer.devices=1"),
    ],
)
def test_other_processes_than_the_runs_are_refused(
    world: dict[str, str], said: str, directories: tuple[Path, Path]
) -> None:
    done = work(directories[1], **world)
    assert done.returncode == 2 and said in done.stderr and "start it by:" in done.stderr, done.stderr
