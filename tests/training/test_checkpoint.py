import json
import logging
import math
import string
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from albor.config.schema.model import Model
from albor.models.checkpoint import load_model
from albor.models.decoder import Decoder
from albor.models.llama_config import config_text
from albor.training.checkpoint import Writer, load, load_latest, steps
from albor.training.errors import TrainingError

MODEL = Model(name="toy", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=61)  # fmt: skip


FILES = {"run.yaml": "seed: 1\n"}


def writer(directory: Path, keep_last: int = 2, keep_best: int = 0, files: Mapping[str, str] = FILES) -> Writer:
    return Writer(directory, keep_last=keep_last, keep_best=keep_best, files=files)


def save(to: Writer, step: int) -> None:
    to.save({"w": torch.full((3,), float(step))}, {"w.step": torch.tensor(step)}, {"step": step, "x": [1, None]})


def kept(directory: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in directory.iterdir() if path.is_dir())


def test_what_is_saved_is_loaded_and_the_newest_are_kept(tmp_path):
    assert load_latest(tmp_path / "none") is None and steps(tmp_path / "none") == []
    with writer(tmp_path / "run" / "checkpoints") as to:
        for step in (1, 2, 3):
            save(to, step)
    assert kept(tmp_path / "run" / "checkpoints") == [2, 3]
    found = load_latest(tmp_path / "run" / "checkpoints")
    assert found is not None and found.state == {"step": 3, "x": [1, None]}
    assert torch.equal(found.model["w"], torch.full((3,), 3.0)) and found.optimizer["w.step"].item() == 3
    assert found.directory == steps(tmp_path / "run" / "checkpoints")[0]
    assert (found.directory / "run.yaml").read_text() == "seed: 1\n"


def test_tensors_may_change_as_soon_as_save_returns(tmp_path):
    tensor = torch.arange(1 << 20, dtype=torch.float32)
    with writer(tmp_path) as to:
        to.save({"w": tensor}, {}, {"step": 1})
        tensor.zero_()
    found = load_latest(tmp_path)
    assert found is not None and torch.equal(found.model["w"], torch.arange(1 << 20, dtype=torch.float32))


DTYPES = (
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)
# The format keeps one name to itself: the library cannot read its own file of a tensor named so.
NAMES = st.text(string.ascii_letters + string.digits + '._é"\\', min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
TENSORS = st.dictionaries(
    NAMES,
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4), st.booleans(), st.integers(0, 2**32)),
    max_size=8,
)  # fmt: skip


def tensor_of(dtype: torch.dtype, shape: list[int], transposed: bool, seed: int) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(99).to(dtype)
    return made.transpose(0, -1) if transposed and made.dim() else made


@settings(max_examples=60, deadline=None)
@given(TENSORS)
def test_files_hold_what_the_safetensors_library_would_have_written(described):
    tensors = {name: tensor_of(*how) for name, how in described.items()}
    with tempfile.TemporaryDirectory() as place:
        with writer(Path(place) / "c") as to:
            to.save(tensors, {}, {"step": 1})
        path = steps(Path(place) / "c")[0]
        save_file({n: t.contiguous() for n, t in tensors.items()}, Path(place) / "theirs", metadata={"format": "pt"})
        theirs, ours, read = load_file(Path(place) / "theirs"), load_file(path / "model.safetensors"), load(path).model
        with safe_open(path / "model.safetensors", framework="pt") as file:
            assert file.metadata() == {"format": "pt"}
        assert theirs.keys() == ours.keys() == read.keys() == tensors.keys()
        for name, tensor in theirs.items():
            for other in (ours[name], read[name]):
                assert other.dtype == tensor.dtype and other.shape == tensor.shape and torch.equal(other, tensor)


@torch.no_grad()
def test_a_checkpoint_is_a_model_directory(tmp_path):
    torch.manual_seed(1)
    decoder = Decoder(MODEL)
    config = config_text(MODEL, dtype=torch.float32, eos_token_id=0, pad_token_id=4)
    with writer(tmp_path, files={"config.json": config}) as to:
        to.save(decoder.state_dict(), {}, {"step": 1})
    tokens = torch.arange(12)[None]
    ours, theirs = load_model(steps(tmp_path)[0]), transformers.AutoModelForCausalLM.from_pretrained(steps(tmp_path)[0])
    assert torch.equal(ours(tokens), decoder(tokens))
    torch.testing.assert_close(theirs(tokens).logits, decoder(tokens), rtol=0, atol=1e-5)


def test_the_best_are_kept_besides_the_newest(tmp_path):
    losses = {1: 5.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 1.0, 6: 6.0, 7: 7.0, 8: 8.0}
    with writer(tmp_path, keep_last=2, keep_best=2) as to:
        for step, loss in losses.items():
            save(to, step)
            to.scored(step, loss)
        to.scored(8, math.nan)
    assert kept(tmp_path) == [2, 5, 7, 8]
    with writer(tmp_path, keep_last=1, keep_best=1) as to:  # what was scored before a restart still counts
        save(to, 9)
    assert kept(tmp_path) == [5, 9]
    with writer(tmp_path, keep_last=1, keep_best=1) as to:
        to.scored(9, 0.5)
    assert kept(tmp_path) == [9]
    assert json.loads((tmp_path / "scores.json").read_text()).keys() == {"5", "9"}


def test_unreadable_scores_stop_nothing(tmp_path, caplog):
    (tmp_path / "scores.json").write_text("[")
    with writer(tmp_path, keep_last=1, keep_best=1) as to, caplog.at_level(logging.WARNING):
        for step in (1, 2):
            save(to, step)
    assert kept(tmp_path) == [2] and "scores.json cannot be read" in caplog.text
    with writer(tmp_path, keep_last=1, keep_best=1) as to:
        to.scored(2, 1.0)
    assert json.loads((tmp_path / "scores.json").read_text()) == {"2": 1.0}


def test_a_damaged_one_does_not_push_out_the_last_good_one(tmp_path):
    with writer(tmp_path, keep_last=2) as to:
        save(to, 1)
        save(to, 2)
        to.wait()
        (tmp_path / "step-00000002" / "state.json").write_text("")
        save(to, 3)
        to.wait()
        assert kept(tmp_path) == [1, 2, 3]
        save(to, 4)
    assert kept(tmp_path) == [3, 4]


def test_one_that_was_passed_over_does_not_push_out_those_that_follow(tmp_path):
    """Damaged in its bytes but not in its size, so that only loading it tells."""
    with writer(tmp_path, keep_last=1) as to:
        save(to, 5)
        to.wait()
        (tmp_path / "step-00000005").rename(tmp_path / "kept")
        save(to, 3)
    (tmp_path / "kept").rename(tmp_path / "step-00000005")
    weights = tmp_path / "step-00000005" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 3
    with Writer(tmp_path, keep_last=1, keep_best=0, files=FILES, resumed=3) as to:
        to.scored(3, 1.0)  # a resumed run validates before it saves again
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 3
    with writer(tmp_path, keep_last=1) as to:
        save(to, 4)
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 4
    with writer(tmp_path, keep_last=1) as to:
        save(to, 5)
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 5 and kept(tmp_path) == [5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_that_are_not_finite_are_never_written(tmp_path, value, dtype):
    with writer(tmp_path) as to:
        save(to, 1)
        bad = torch.tensor([1.0, value, 2.0], dtype=dtype)
        good = {"w": torch.full((2,), torch.finfo(torch.float32).max), "empty": torch.empty(0), "n": torch.tensor(7)}
        for model, moments in (({**good, "v": bad}, {}), (good, {"v": bad})):
            with pytest.raises(TrainingError, match="v is not finite"):
                to.save(model, moments, {"step": 2})
        to.wait()
        assert kept(tmp_path) == [1]
        to.save(good, {}, {"step": 2})
    assert kept(tmp_path) == [1, 2]


def test_a_state_that_is_not_json_is_refused_before_anything_is_written(tmp_path):
    with writer(tmp_path) as to:
        with pytest.raises(ValueError, match="JSON"):
            to.save({}, {}, {"step": 1, "loss": math.nan})
        with pytest.raises(TypeError, match="JSON"):
            to.save({}, {}, {"step": 1, "loss": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    with writer(tmp_path) as to:
        save(to, 7)
    for name in (".writing-step-00000008", ".removing-step-00000001", "step-00000007.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    (tmp_path / ".scores.json.k2x9.tmp").touch()
    with writer(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]


def test_one_that_was_about_to_be_replaced_is_not_lost(tmp_path):
    with writer(tmp_path) as to:
        save(to, 7)
    (tmp_path / "step-00000007").rename(tmp_path / "step-00000007.replaced")
    found = load_latest(tmp_path)
    assert found is not None and found.state["step"] == 7
    with writer(tmp_path) as to:
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]
        save(to, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]


def test_files_of_the_writer_cannot_be_given(tmp_path):
    with pytest.raises(ValueError, match=r"state\.json"):
        writer(tmp_path, files={"state.json": "{}"})
