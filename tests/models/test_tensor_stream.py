"""safetensors files written by hand are safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from albor.models.errors import ModelError
from albor.models.tensor_stream import DTYPES, stored_tensors, write_tensors


def written(tensors: dict[str, Tensor], path: Path) -> Path:
    write_tensors(path, {name: (t.dtype, t.shape) for name, t in tensors.items()}, lambda name: tensors[name])
    return path


@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3), max_size=6),
    dtypes=st.lists(st.sampled_from(sorted(DTYPES)), min_size=6, max_size=6),
)
def test_safetensors_reads_what_is_written(tmp_path_factory, shapes, dtypes):
    tensors = {
        f"{i}.é": torch.randn(shape).to(DTYPES[kind])
        for i, (shape, kind) in enumerate(zip(shapes, dtypes, strict=False))
    }
    path = written(tensors, tmp_path_factory.mktemp("files") / "x.safetensors")
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_bytes_are_those_of_save_file(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(7), "c": torch.randn(2, 2, 2)}
    save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    ours = written(tensors, tmp_path / "ours").read_bytes()
    theirs = (tmp_path / "theirs").read_bytes()
    size = int.from_bytes(ours[:8], "little")
    assert json.loads(ours[8 : 8 + size]) == json.loads(theirs[8 : 8 + int.from_bytes(theirs[:8], "little")])
    assert ours[8 + size :] == theirs[-(len(ours) - 8 - size) :]


def test_tensors_come_back_one_at_a_time_with_shape_and_dtype(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16()}
    stored = stored_tensors(written(tensors, tmp_path / "x"))
    for name, tensor in tensors.items():
        assert (stored[name].shape, stored[name].dtype) == (tensor.shape, tensor.dtype)
        assert torch.equal(stored[name].read(), tensor)


def test_a_failure_leaves_what_was_there(tmp_path):
    path = written({"a": torch.ones(2)}, tmp_path / "x")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write_tensors(path, {"a": (torch.float32, torch.Size([2]))}, lambda _: torch.zeros(2) / (1 // 0))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_is_no_safetensors_file_or_no_float_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read") as refused:
        stored_tensors(tmp_path / "x")
    assert refused.value.help
    path = written({"a": torch.ones(2)}, tmp_path / "y")
    stored = stored_tensors(path)["a"]
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be read"):
        stored.read()
    save_file({"a": torch.ones(2, dtype=torch.int8)}, path)
    with pytest.raises(ModelError, match="a is stored as I8"):
        _ = stored_tensors(path)["a"].dtype
