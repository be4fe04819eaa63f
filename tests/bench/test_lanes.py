"""Lanes of commands, and a corpus that is carried."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from albor.data import documents
from albor.data.documents import Document
from albor.runs import manifest
from bench import carry
from bench.lanes import Lanes


def test_what_is_waited_for_comes_first_and_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    def say(name: str, what: str = "pass") -> dict[str, object]:
        return {"name": name, "python": f"timeit -n 1 -r 1 {what}"}

    lanes = {
        "one": [say("a"), say("b", "1/0")],
        "two": [say("c") | {"after": ["b"]}, say("d") | {"after": ["a"]}],
    }
    assert Lanes(lanes, tmp_path, []).run() == 1
    done = [json.loads(line) for line in (tmp_path / "lanes" / "done.jsonl").read_text().splitlines()]
    assert {one["name"]: one["code"] for one in done} == {"a": 0, "b": 1, "c": 1, "d": 0}
    assert "ZeroDivisionError" in (tmp_path / "lanes" / "b.log").read_text()
    assert not (tmp_path / "lanes" / "c.log").exists()


def test_what_failed_by_itself_is_given_once_more(tmp_path: Path) -> None:
    begun = "from pathlib import Path; p = Path('begun'); was = p.exists(); p.touch(); was or 1/0"
    lanes = {"one": [{"name": "a", "python": f'timeit -n 1 -r 1 "{begun}"'}]}
    assert Lanes(lanes, tmp_path, []).run() == 0
    assert "ZeroDivisionError" in (tmp_path / "lanes" / "a.log").read_text()


def test_a_task_that_cannot_be_given_or_was_killed_has_failed(tmp_path: Path) -> None:
    killed = {"name": "killed", "python": "timeit -n 1 -r 1 'import os; os.kill(os.getpid(), 9)'"}
    lanes = {"one": [{"name": "nothing"}, {"name": "ladder", "albor": "@ladder/nosuch"}], "two": [killed]}
    assert Lanes(lanes, tmp_path, []).run() == 1
    done = [json.loads(line) for line in (tmp_path / "lanes" / "done.jsonl").read_text().splitlines()]
    assert {one["name"]: one["code"] for one in done} == {"nothing": 1, "ladder": 1, "killed": -9}


def test_a_task_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        Lanes({"one": [{"name": "a", "python": "this", "after": ["nowhere"]}]}, tmp_path, [])


def test_runs_are_named_by_their_label(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "pack" / "rows-0123456789ab"
    run.mkdir(parents=True)
    (run.parent / "rows-of-others-0123456789ab").mkdir()
    lanes = {"one": [{"name": "a", "python": "timeit -n 1 -r 1 -s 'print(\"{pack/rows}\")' pass"}]}
    assert Lanes(lanes, tmp_path, []).run() == 0
    assert "outputs/pack/rows-0123456789ab" in (tmp_path / "lanes" / "a.log").read_text()


def test_a_carried_corpus_is_the_same_to_the_byte(tmp_path: Path) -> None:
    run = tmp_path / "here" / "prepare" / "mine-0123456789ab"
    artifact = run / "artifact"
    artifact.mkdir(parents=True)
    for split, count in (("train", 600), ("val", 30)):
        made = (
            Document(f"é = {i}\r\n" * (1 + i % 40), "local", f"p{i % 7}", "1", f"{i}.py", "MIT") for i in range(count)
        )
        documents.write(artifact / f"{split}-00000.parquet", made)
    (artifact / "steps.json").write_text("{}")
    (run / manifest.BASIS).write_text("{}")
    known = manifest.Manifest(
        stage="prepare", version=1, id="0123456789ab", label="mine", status="done", command="", config={},
        files=manifest.artifact_files(artifact),
    )  # fmt: skip
    manifest.save(run, known)
    carry.pack(run, tmp_path / "carried", parts=3)
    assert carry.unpack(tmp_path / "carried", tmp_path / "there") == []
    there = tmp_path / "there" / "outputs" / "prepare" / run.name
    assert manifest.artifact_files(there / "artifact") == known.files
    shutil.copy(there / "artifact" / "val-00000.parquet", tmp_path / "carried" / "steps.json")
    assert carry.unpack(tmp_path / "carried", tmp_path / "other") == ["steps.json"]
