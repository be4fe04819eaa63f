"""Evaluations of checkpoints: their file, the held checkpoint and the best."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from albor.runs import evaluations


class Clock:
    """Time stands still."""

    @staticmethod
    def time() -> float:
        return 1700000000.123456


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "time", Clock)


def contents(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    made = tmp_path / "training" / "step-00000005"
    (made / "deep").mkdir(parents=True)
    (made / "model").write_text("weights")
    (made / "deep" / "state").write_text("5")
    return made


def test_evaluations_come_back_in_order(tmp_path: Path) -> None:
    assert evaluations.read(tmp_path) == []
    evaluations.add(tmp_path, 5, "abc", {"pass@1": 0.25})
    assert (tmp_path / "evaluations.jsonl").read_text() == (
        '{"time": 1700000000.123, "checkpoint": 5, "run": "abc", "pass@1": 0.25}\n'
    )
    evaluations.add(tmp_path, 10, "def", {})
    assert evaluations.read(tmp_path) == [
        {"time": 1700000000.123, "checkpoint": 5, "run": "abc", "pass@1": 0.25},
        {"time": 1700000000.123, "checkpoint": 10, "run": "def"},
    ]


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    evaluations.add(tmp_path, 1, "a", {})
    with (tmp_path / "evaluations.jsonl").open("a") as file:
        file.write('{"checkpoint": 2, "ru')
    assert [row["checkpoint"] for row in evaluations.read(tmp_path)] == [1]
    evaluations.add(tmp_path, 3, "c", {})
    evaluations.add(tmp_path, 4, "d", {})
    assert len((tmp_path / "evaluations.jsonl").read_text().splitlines()) == 4
    assert [row["checkpoint"] for row in evaluations.read(tmp_path)] == [1, 3, 4]


@pytest.mark.usefixtures("other_encoding")
def test_evaluations_are_in_utf8(tmp_path: Path) -> None:
    evaluations.add(tmp_path, 1, "a", {})
    with (tmp_path / "evaluations.jsonl").open("ab") as file:
        file.write('{"checkpoint": "é"}\n'.encode())
    assert [row["checkpoint"] for row in evaluations.read(tmp_path)] == [1, "é"]


def test_a_held_checkpoint_outlives_the_training_s(tmp_path: Path, checkpoint: Path) -> None:
    run = tmp_path / "run"
    held = evaluations.hold(run, checkpoint)
    assert held == run / ".watched" / "step-00000005"
    assert contents(held) == {"model": "weights", "deep/state": "5"} == contents(checkpoint)
    assert (held / "model").samefile(checkpoint / "model"), "linked: it costs no space"
    (checkpoint / "model").unlink()
    assert (held / "model").read_text() == "weights"
    evaluations.release(held)
    assert not held.exists()
    evaluations.release(held)


def test_what_was_held_before_is_replaced(tmp_path: Path, checkpoint: Path) -> None:
    held = evaluations.hold(tmp_path, checkpoint)
    (held / "left").write_text("by a killed process")
    assert evaluations.hold(tmp_path, checkpoint) == held
    assert contents(held) == contents(checkpoint)


def test_without_links_files_are_copied(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, to: str) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refused)
    os.utime(checkpoint / "model", (1000, 2000))
    held = evaluations.hold(tmp_path, checkpoint)
    assert contents(held) == contents(checkpoint)
    assert not (held / "model").samefile(checkpoint / "model")
    assert (held / "model").stat().st_mtime == 2000


def test_the_best_is_replaced_as_a_whole(tmp_path: Path, checkpoint: Path) -> None:
    run = tmp_path / "run"
    evaluations.keep_best(run, checkpoint)
    assert contents(run) == {"best/model": "weights", "best/deep/state": "5"}
    (checkpoint / "model").unlink()
    (checkpoint / "other").write_text("weights too")
    evaluations.keep_best(run, checkpoint)
    assert contents(run) == {"best/other": "weights too", "best/deep/state": "5"}
    assert [path.name for path in run.iterdir()] == ["best"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path, checkpoint: Path) -> None:
    for name in ("best", ".best.new", ".best.old"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "stale").write_text(name)
    evaluations.keep_best(tmp_path / "run", checkpoint)
    assert contents(tmp_path / "run") == {"best/model": "weights", "best/deep/state": "5"}


def test_at_every_moment_there_is_a_whole_best(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But between the two renames, when the one before lies beside."""
    run, rename, seen = tmp_path / "run", Path.rename, []
    evaluations.keep_best(run, checkpoint)
    whole = contents(run / "best")

    def watched(self: Path, target: Path) -> Path:
        seen.append((self.name, target.name, sorted(path.name for path in run.iterdir())))
        assert contents(self) == whole
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    evaluations.keep_best(run, checkpoint)
    assert seen == [
        ("best", ".best.old", [".best.new", "best"]),
        (".best.new", "best", [".best.new", ".best.old"]),
    ]
