"""Steps keep what is finished: real processes are killed for real."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from albor.config.schema.run import LocalExecutor
from albor.data.steps import MAKING, Step, perform
from albor.executors import open_executor


@dataclass(frozen=True)
class Word:
    text: str


def spell(word: Word, directory: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Two files a task; slow enough to be killed in between."""
    (directory / "a.txt").write_text(word.text)
    time.sleep(0.05)
    (directory / "b.txt").write_text(word.text[::-1])
    return {"letters": len(word.text)}, {"spell": 0.05}


def refuse(word: Word, directory: Path) -> tuple[dict[str, Any], dict[str, float]]:
    if word.text == "three":
        raise OSError(28, "No space left on device")
    return spell(word, directory)


def step(run: Any = spell, version: int = 1, **settings: Any) -> Step[Word]:
    return Step(name="spell", version=version, settings=settings, identity=lambda word: word.text, run=run)


WORDS = [Word(text) for text in ("one", "two", "three", "four", "five", "six", "seven", "eight")]


def work(directory: Path, made: Step[Word], words: list[Word] = WORDS, workers: int = 1) -> list[Any]:
    with open_executor(LocalExecutor(workers=workers), directory=directory) as executor:
        return perform(made, words, directory=directory, executor=executor)


def snapshot(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and MAKING not in str(path)
    }


def test_outputs_come_in_the_order_of_the_tasks_and_say_what_they_are(tmp_path: Path) -> None:
    outputs = work(tmp_path, step(), workers=2)
    assert [output.facts["letters"] for output in outputs] == [len(word.text) for word in WORDS]
    for output, word in zip(outputs, WORDS, strict=True):
        assert set(output.files) == {"a.txt", "b.txt"}
        assert output.files["a.txt"] == {
            "sha256": hashlib.sha256(word.text.encode()).hexdigest(),
            "bytes": len(word.text),
        }
        assert output.seconds


def test_what_is_finished_is_taken_as_it_is(tmp_path: Path) -> None:
    work(tmp_path, step())
    before = snapshot(tmp_path)
    assert not any(output.seconds for output in work(tmp_path, step()))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("changed", [step(version=2), step(setting=1)])
def test_another_version_or_setting_is_other_work_and_replaces_it(tmp_path: Path, changed: Step[Word]) -> None:
    work(tmp_path, step())
    assert all(output.seconds for output in work(tmp_path, changed))
    assert len(list((tmp_path / "spell").iterdir())) == len(WORDS)


def test_equal_tasks_are_done_once(tmp_path: Path) -> None:
    outputs = work(tmp_path, step(), [Word("one"), Word("two"), Word("one")])
    assert outputs[0] == outputs[2] != outputs[1]
    assert len(list((tmp_path / "spell").iterdir())) == 2


@pytest.mark.parametrize("damage", ["missing", "cut", "manifest"])
def test_what_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    first = work(tmp_path, step())
    before = snapshot(tmp_path)
    victim = first[3].path
    match damage:
        case "missing":
            (victim / "b.txt").unlink()
        case "cut":
            (victim / "b.txt").write_text("")
        case "manifest":
            (victim / "manifest.json").write_text("{")
    again = work(tmp_path, step())
    assert [bool(output.seconds) for output in again] == [n == 3 for n in range(len(WORDS))]
    assert snapshot(tmp_path) == before


def test_what_killed_attempts_and_desktops_leave_goes(tmp_path: Path) -> None:
    work(tmp_path, step())
    before = snapshot(tmp_path)
    (tmp_path / "spell" / ".DS_Store").write_text("x")
    abandoned, running = (tmp_path / "spell" / f"{MAKING}{name}" for name in ("abandoned", "running"))
    for left in (abandoned, running):
        left.mkdir()
        (left / "a.txt").write_text("half")
    long_ago = time.time() - 3600
    for path in (abandoned / "a.txt", abandoned):
        os.utime(path, (long_ago, long_ago))
    work(tmp_path, step())
    assert snapshot(tmp_path) == before
    assert running.exists() and not abandoned.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_task_fails_the_step_and_the_finished_ones_are_kept(tmp_path: Path, workers: int) -> None:
    with pytest.raises(OSError, match="No space left"):
        work(tmp_path, step(refuse), workers=workers)
    kept = len(list((tmp_path / "spell").glob("*/manifest.json")))
    assert 1 <= kept < len(WORDS)
    work(tmp_path, step(spell))
    assert len(list((tmp_path / "spell").glob("*/manifest.json"))) == len(WORDS)


SCRIPT = """
import sys
from pathlib import Path
from tests.data.test_steps import step, work
work(Path(sys.argv[1]), step(), workers=2)
"""


def test_killed_at_any_point_the_rerun_is_equal_to_the_byte(tmp_path: Path) -> None:
    work(tmp_path / "whole", step())
    rng = random.Random(5)
    kept = []
    for attempt in range(5):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "killed")], start_new_session=True)
        deadline = time.monotonic() + 60
        wanted = attempt  # die a little further each time
        while len(list((tmp_path / "killed" / "spell").glob("*/manifest.json"))) <= wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept.append(len(list((tmp_path / "killed" / "spell").glob("*/manifest.json"))))
    assert kept == sorted(kept)
    time.sleep(0.3)  # the workers have noticed
    work(tmp_path / "killed", step())
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "whole")
    assert json.loads(next((tmp_path / "whole").rglob("manifest.json")).read_text())["facts"]
