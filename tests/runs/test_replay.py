"""A part of a run again: the second run's directory, and what is compared."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from albor.runs import replay
from albor.runs.manifest import FileRef, InputRef, load, save
from albor.runs.replay import Step, changes, compare, second
from albor.runs.store import Run

from .samples import manifest

CONFIG = {"lr": 0.1, "alerts": {"spike": {"action": "stop"}}, "tracking": {"mode": "online", "project": "p"}}
ENVIRONMENT = {
    "git_commit": "c1",
    "git_dirty": False,
    "torch": "2.9",
    "python": "3.11.7",
    "platform": "Linux",
    "host": "here",
    "cpus": 8,
    "omp_num_threads": "1",
}


@pytest.fixture
def found(tmp_path: Path) -> Run:
    """A finished run with three checkpoints; one that was being replaced when its process was killed."""
    directory = tmp_path / "outputs" / "pretrain" / "x-0123456789ab"
    for name in ("step-00000000", "step-00000004", "step-00000008", "step-00000012", "step-00000004.replaced", "best"):
        (directory / "checkpoints" / name / "deep").mkdir(parents=True)
        (directory / "checkpoints" / name / "deep" / "model").write_text(name)
    inputs = {
        "rows": InputRef(stage="pack", id="feed", path="../../pack/rows-feed/artifact", digest="d1"),
        "model": InputRef(stage="hub", id="a/b", path="/cache/model", digest="d2"),
    }
    run = manifest(
        stage="pretrain",
        status="done",
        config=CONFIG,
        inputs=inputs,
        files={"model": FileRef(sha256="0", bytes=1)},
        facts={"loss": 2.5},
        digest="d3",
        environment=ENVIRONMENT,
        error="before",
        group="goal",
    )
    save(directory, run)
    return Run(directory, run)


def names(directory: Path) -> list[str]:
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def test_the_second_run_is_the_first_from_a_checkpoint(found: Run, tmp_path: Path) -> None:
    made = second(found, tmp_path / "beside", 8)
    assert made == tmp_path / "beside" / "pretrain" / "x-0123456789ab"
    assert names(made) == [
        "checkpoints/step-00000000/deep/model",
        "checkpoints/step-00000004.replaced/deep/model",
        "checkpoints/step-00000004/deep/model",
        "manifest.yaml",
    ], "checkpoints before the step where it stops"
    run = load(made)
    assert run.config == {"lr": 0.1, "alerts": {}, "tracking": {"mode": "disabled", "project": "p"}}
    assert (run.status, run.stop_at, run.error, run.digest) == ("planned", 8, None, None)
    assert (run.files, run.facts, run.environment) == ({}, {}, {})
    assert (run.stage, run.id, run.label, run.group) == ("pretrain", "0123456789ab", "x", "goal")
    rows, model = run.inputs["rows"], run.inputs["model"]
    assert (made / rows.path).resolve() == (tmp_path / "outputs/pack/rows-feed/artifact").resolve()
    assert rows.path == "../../../outputs/pack/rows-feed/artifact"
    assert (rows.stage, rows.id, rows.digest) == ("pack", "feed", "d1")
    assert model == found.manifest.inputs["model"]
    assert load(found.directory) == found.manifest and found.manifest.config == CONFIG, "the first is as it was"


def test_checkpoints_are_linked(found: Run, tmp_path: Path) -> None:
    made = second(found, tmp_path / "beside", 100)
    model = Path("checkpoints/step-00000012/deep/model")
    assert (made / model).samefile(found.directory / model)


def test_or_copied_where_they_cannot_be(found: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    model = Path("checkpoints/step-00000000/deep/model")
    os.utime(found.directory / model, (1000, 2000))
    made = second(found, tmp_path / "beside", 1)
    assert (made / model).read_text() == "step-00000000" and not (made / model).samefile(found.directory / model)
    assert (made / model).stat().st_mtime == 2000


def test_what_its_work_was_done_from_goes_with_it(found: Run, tmp_path: Path) -> None:
    (found.directory / "basis.json").write_text('{"rows": "d1"}')
    os.utime(found.directory / "basis.json", (1000, 2000))
    made = second(found, tmp_path / "beside", 1)
    assert (made / "basis.json").read_text() == '{"rows": "d1"}'
    assert (made / "basis.json").stat().st_mtime == 2000
    assert not (made / "basis.json").samefile(found.directory / "basis.json"), "training writes to it"


def test_a_second_run_is_not_made_over_another(found: Run, tmp_path: Path) -> None:
    second(found, tmp_path / "beside", 1)
    with pytest.raises(FileExistsError):
        second(found, tmp_path / "beside", 1)


def write(directory: Path, *rows: dict[str, Any] | str) -> Path:
    directory.mkdir(exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    (directory / "metrics.jsonl").write_bytes(text.encode())
    return directory


@pytest.mark.usefixtures("other_encoding")
def test_metrics_by_step(tmp_path: Path) -> None:
    assert replay.metrics(tmp_path) == {}
    write(
        tmp_path,
        {"step": 1, "loss": 3.0, "note": "é"},
        {"alert": "x", "message": "no step"},
        '{"step": 1, "lo',
        {"step": 2, "loss": 2.5},
        {"step": 1, "loss": 2.9, "val_loss": 3.1},
    )
    assert replay.metrics(tmp_path) == {
        1: {"step": 1, "loss": 2.9, "note": "é", "val_loss": 3.1},
        2: {"step": 2, "loss": 2.5},
    }


def test_steps_that_both_recorded_are_compared(tmp_path: Path) -> None:
    then = write(tmp_path / "then", *({"step": step, "loss": float(step)} for step in (10, 0, 1, 2, 3, 5)))
    now = write(tmp_path / "now", *({"step": step, "loss": -float(step)} for step in (10, 0, 1, 3, 4, 5)))
    found = compare(then, now, 5)
    assert [step.number for step in found] == [1, 3, 5]
    assert found[0] == Step(1, {"step": 1, "loss": 1.0}, {"step": 1, "loss": -1.0})
    assert [step.number for step in compare(then, now, 10)] == [1, 3, 5, 10], "in the order of the steps"


@pytest.mark.parametrize(
    ("then", "now", "differing"),
    [
        ({"loss": 0.1, "lr": 0.2}, {"loss": 0.1, "lr": 0.2}, []),
        ({"loss": 0.1}, {"loss": math.nextafter(0.1, 1)}, ["loss"]),
        ({"loss": 0.3, "lr": 0.2}, {"lr": 0.3, "loss": 0.1 + 0.2}, ["loss", "lr"]),
        ({"val_loss": 1.0, "grad_norm": 1.0}, {"val_loss": 2.0, "grad_norm": 2.0}, ["grad_norm", "val_loss"]),
        ({"loss": 0.1}, {"loss": 0.1, "val_loss": 2.0}, []),
        ({"loss": 0.1, "val_loss": 2.0}, {"loss": 0.1}, []),
        ({"loss": None}, {"loss": None}, []),
        ({"tokens_per_second": 1.0}, {"tokens_per_second": 2.0}, []),
    ],
)
def test_what_must_be_the_same(then: dict[str, Any], now: dict[str, Any], differing: list[str]) -> None:
    assert Step(1, then, now).differing == differing


def two(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    for name, fields in (("then", old), ("now", new)):
        (tmp_path / name).mkdir()
        save(tmp_path / name, manifest(**fields))
    return changes(tmp_path / "then", tmp_path / "now")


def test_nothing_has_changed(tmp_path: Path) -> None:
    inputs = {"rows": InputRef(stage="pack", id="feed", path="p", digest="d1")}
    unlike = {"executable": "/elsewhere", "lock_sha256": "1"}
    old, new = {"environment": ENVIRONMENT, "inputs": inputs}, {"environment": ENVIRONMENT | unlike, "inputs": inputs}
    assert two(tmp_path, old, new) == []


def test_what_may_be_why_bits_differ(tmp_path: Path) -> None:
    other = {
        "git_commit": "c2",
        "torch": "2.10",
        "python": "3.12.1",
        "platform": "Darwin",
        "host": "there",
        "cpus": 4,
    }
    assert two(tmp_path, {"environment": ENVIRONMENT}, {"environment": other}) == [
        "commit c2, then c1",
        "torch 2.10, then 2.9",
        "Python 3.12.1, then 3.11.7",
        "system Darwin, then Linux",
        "machine there, then here",
        "processors 4, then 8",
        "OMP_NUM_THREADS None, then 1",
    ]


@pytest.mark.parametrize("dirty", ["then", "now"])
def test_changes_that_are_not_committed(dirty: str, tmp_path: Path) -> None:
    old, new = ({"environment": {"git_dirty": dirty == name}} for name in ("then", "now"))
    assert two(tmp_path, old, new) == ["the code has changes that are not committed, now or then"]


def test_inputs_that_were_built_again(tmp_path: Path) -> None:
    def refs(**digests: str | None) -> dict[str, Any]:
        return {"inputs": {k: InputRef(stage="pack", id="feed", path="p", digest=v) for k, v in digests.items()}}

    assert two(tmp_path, refs(a="1", b="1", c=None, d="1"), refs(a="1", b="2", c="3", d=None)) == [
        "the input b was built again and is another",
        "the input d was built again and is another",
    ]
