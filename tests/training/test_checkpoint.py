import json
import logging

import pytest
import torch

from albor.training import checkpoint
from albor.training.checkpoint import Checkpoint, load_latest, save
from albor.training.errors import TrainingError


def made(step: int) -> Checkpoint:
    return Checkpoint(
        {"w": torch.full((3,), float(step))}, {"w.step": torch.tensor(step)}, {"step": step, "x": [1, None]}
    )


def test_what_is_saved_is_loaded_and_two_are_kept(tmp_path):
    assert load_latest(tmp_path / "none") is None
    for step in (1, 2, 3):
        save(tmp_path / "c", made(step))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-00000002", "step-00000003"]
    found = load_latest(tmp_path / "c")
    assert found is not None and found.state["step"] == 3 and found.state["x"] == [1, None]
    assert torch.equal(found.model["w"], torch.full((3,), 3.0)) and found.optimizer["w.step"].item() == 3


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, caplog, name, damage):
    save(tmp_path, made(1))
    path = save(tmp_path, made(2)) / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-5])
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 1
    assert "step-00000002" in caplog.text and name in caplog.text
    save(tmp_path, made(2))
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 2


def test_nothing_intact_is_an_error_not_a_new_start(tmp_path):
    (save(tmp_path, made(1)) / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match="step-00000001: state") as error:
        load_latest(tmp_path)
    assert str(tmp_path) in str(error.value.help)


def test_values_that_are_not_finite_are_never_written(tmp_path):
    save(tmp_path, made(1))
    bad = Checkpoint({"w": torch.ones(1), "v": torch.tensor([1.0, float("inf")])}, {}, {"step": 2})
    with pytest.raises(TrainingError, match="v is not finite"):
        save(tmp_path, bad)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_write_that_fails_leaves_the_previous_one_and_no_debris(tmp_path, monkeypatch):
    save(tmp_path, made(1))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, made(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".writing-step-00000007").mkdir()
    save(tmp_path, made(8))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000008"]


def test_the_state_is_plain_json(tmp_path):
    content = json.loads((save(tmp_path, made(1)) / "state.json").read_text())
    assert set(content["state"]["files"]["model.safetensors"]) == {"size", "sha256"}
