"""Checkpoints by name: which there are, and which run they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs import checkpoints
from albor.runs.manifest import save

from .samples import manifest


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-00000012", 12),
        ("step-00000000", 0),
        ("step-7", 7),
        ("step-123456789", 123456789),
        ("step-00000012.replaced", 12),
        ("step-", None),
        ("step-1x", None),
        ("step-1.tmp", None),
        ("step-1Xreplaced", None),
        ("xstep-1", None),
        (".step-1", None),
        ("best", None),
    ],
)
def test_the_step_of_a_name(name: str, step: int | None) -> None:
    assert checkpoints.step_of(Path("of-step-5", name)) == step


def test_a_step_has_eight_digits(tmp_path: Path) -> None:
    assert checkpoints.step_directory(tmp_path, 12) == tmp_path / "step-00000012"
    assert checkpoints.step_of(checkpoints.step_directory(tmp_path, 3_000_000_000)) == 3_000_000_000


def test_the_newest_comes_first(tmp_path: Path) -> None:
    assert checkpoints.steps(tmp_path / "nothing") == [] == checkpoints.numbered(tmp_path / "nothing")
    names = ["step-00000009", "step-00000010", "step-00000002", "step-00000010.replaced"]
    for name in [*names, "step-x", "best", ".step-00000099", "other-00000077"]:
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000050").write_text("no directory")
    expected = ["step-00000010", "step-00000010.replaced", "step-00000009", "step-00000002"]
    assert checkpoints.steps(tmp_path) == [tmp_path / name for name in expected]
    assert checkpoints.numbered(tmp_path) == list(zip([10, 10, 9, 2], checkpoints.steps(tmp_path), strict=True))


def test_step_zero_is_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "step-00000000").mkdir()
    assert checkpoints.numbered(tmp_path) == [(0, tmp_path / "step-00000000")]
    assert checkpoints.is_checkpoint(tmp_path / "step-00000000")


def test_what_a_checkpoint_is(tmp_path: Path) -> None:
    """Damaged ones by their name, copies by their index."""
    for name in ("step-00000001", "copy", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "copy" / "checkpoint.json").write_text("{}")
    (tmp_path / "empty" / "model.safetensors").write_text("")
    (tmp_path / "step-00000002").write_text("a file")
    (tmp_path / "odd" / "checkpoint.json").mkdir(parents=True)
    found = {path.name for path in tmp_path.iterdir() if checkpoints.is_checkpoint(path)}
    assert found == {"step-00000001", "copy"}
    assert not checkpoints.is_checkpoint(tmp_path / "step-00000003")


def test_the_run_around_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "pretrain" / "x-0123456789ab"
    place = run / checkpoints.DIRECTORY / "step-00000001"
    place.mkdir(parents=True)
    assert checkpoints.run_around(place) is None
    save(run, manifest(stage="pretrain"))
    found = checkpoints.run_around(place)
    assert found is not None and found.directory == run.resolve() and found.manifest == manifest(stage="pretrain")
    monkeypatch.chdir(place.parent)
    assert checkpoints.run_around(Path(place.name)) == found, "however it is named"
    (tmp_path / "link").symlink_to(place)
    assert checkpoints.run_around(tmp_path / "link") == found, "or reached"


def test_a_checkpoint_holds_the_manifest_of_its_run(tmp_path: Path) -> None:
    save(tmp_path, manifest(label="mine"))
    (tmp_path / "manifest.yaml").rename(tmp_path / "run.yaml")
    assert checkpoints.run_of(tmp_path) == manifest(label="mine")


def test_a_checkpoint_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AlborError) as refused:
        checkpoints.run_of(tmp_path)
    assert refused.value.cause == "it holds no run.yaml"
    assert refused.value.help == "give a checkpoint that `stage=pretrain` wrote"
    assert refused.value.place == str(tmp_path)
    assert refused.value.exit_code == 2
