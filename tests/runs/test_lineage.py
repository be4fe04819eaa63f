"""What a run was made from, by the manifests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import InputRef, Status, save

from .samples import manifest


def put(root: Path, name: str, status: Status, *inputs: str) -> Path:
    """A run of this name, made from runs of those names and from a directory that no run of ours made."""
    directory = root / name
    directory.mkdir()
    refs = {other: InputRef(stage="pack", id=other, path=f"../{other}/artifact") for other in inputs}
    refs["given"] = InputRef(stage="files", id="0", path="/no/where/files")
    save(directory, manifest(id=name, status=status, inputs=refs))
    return directory


def names(directory: Path, *, unfinished: bool = False) -> list[str]:
    found = list(chain(directory, unfinished=unfinished))
    assert all(place.name == run.id and place.is_absolute() for place, run in found)
    return [run.id for _, run in found]


def test_where_an_input_lies(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "train" / "x"
    ours = InputRef(stage="pack", id="feed", path="../../pack/rows/artifact")
    assert input_path(run, ours) == tmp_path.resolve() / "outputs/pack/rows/artifact"
    for stage in ("files", "hub"):
        assert input_path(run, InputRef(stage=stage, id="0", path="some/where")) == Path("some/where")


def test_inputs_come_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "source", "done")
    put(tmp_path, "tokens", "done", "source")
    put(tmp_path, "rows", "done", "source", "tokens")
    put(tmp_path, "train", "done", "rows", "tokens")
    put(tmp_path, "beside", "done", "source")
    assert names(tmp_path / "train") == ["source", "tokens", "rows", "train"]
    assert names(tmp_path / "source") == ["source"]
    monkeypatch.chdir(tmp_path)
    assert names(Path("rows")) == ["source", "tokens", "rows"]


def test_only_as_far_as_there_is_something_to_do(tmp_path: Path) -> None:
    put(tmp_path, "old", "planned")
    put(tmp_path, "source", "done", "old")
    put(tmp_path, "rows", "failed", "source")
    put(tmp_path, "train", "planned", "rows")
    assert names(tmp_path / "train", unfinished=True) == ["source", "rows", "train"]
    everything = ["old", "source", "rows", "train"]
    assert names(tmp_path / "train") == everything == [run.id for _, run in chain(tmp_path / "train")]


def test_what_a_finished_run_was_made_from_may_be_gone(tmp_path: Path) -> None:
    put(tmp_path, "source", "done")
    put(tmp_path, "tokens", "done")
    put(tmp_path, "rows", "done", "source", "tokens")
    shutil.rmtree(tmp_path / "source")
    assert names(tmp_path / "rows") == ["tokens", "rows"]


def test_what_another_needs_may_not(tmp_path: Path) -> None:
    put(tmp_path, "rows", "running", "source")
    with pytest.raises(AlborError, match="no manifest") as error:
        list(chain(tmp_path / "rows"))
    assert error.value.place == str(tmp_path.resolve() / "source")
