"""The original's checkpoints: transposed where they are [in, out], refused where that cannot be told."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.checkpoint import load_model, save_model
from albor.models.convert import convert
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from tests.models.conftest import SHAPE

EMBEDDING = "model.embed_tokens.weight"
SQUARE: dict[str, Any] = {"num_key_value_heads": 4, "intermediate_size": 64}
Q, UP = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"


def turned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the original stores them: ``x @ W``."""
    return {
        name: tensor.T.contiguous() if tensor.ndim == 2 and name != EMBEDDING else tensor
        for name, tensor in weights.items()
    }


def original(directory: Path, *, dtype: torch.dtype = torch.float32, **changes: Any) -> Decoder:
    """Writes a model as the original did; returns what it computes."""
    torch.manual_seed(0)
    model = Decoder(Model(**{**SHAPE, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(model.config, model.state_dict(), directory, eos_token_id=0)
    change(directory, lambda weights: {name: t.to(dtype) for name, t in turned(weights).items()})
    return model


def change(directory: Path, how: Any) -> None:
    weights = how(load_file(directory / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, directory / "model.safetensors")


@torch.no_grad()
@given(
    heads=st.sampled_from([(1, 1), (2, 1), (4, 2), (4, 4)]),
    intermediate_size=st.sampled_from([48, 64, 96]),
    layers=st.integers(1, 3),
    vocab_size=st.sampled_from([17, 64]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    in_out=st.booleans(),
)
@settings(max_examples=30)
def test_the_same_function_comes_out_bit_for_bit(
    heads: tuple[int, int], intermediate_size: int, layers: int, vocab_size: int, dtype: torch.dtype, in_out: bool
) -> None:
    changes = dict(zip(("num_attention_heads", "num_key_value_heads"), heads, strict=True))
    changes |= {"intermediate_size": intermediate_size, "num_hidden_layers": layers, "vocab_size": vocab_size}
    with TemporaryDirectory() as place:
        source, out = Path(place) / "source", Path(place) / "out"
        model = original(source, dtype=dtype, **changes)
        if not in_out:
            change(source, turned)
        told = heads[0] == heads[1] and intermediate_size == 64
        layout, tensors = convert(source, out, layout=("in_out" if in_out else "out_in") if told else None)
        assert layout == ("in_out" if in_out else "out_in") and tensors == model.config.num_tensors
        expected = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
        found = load_file(out / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) and found[name].dtype == dtype for name, tensor in expected.items())
        assert load_model(out).config == model.config
        # A second time there is nothing left to turn.
        convert(out, Path(place) / "again", layout="out_in" if told else None)
        assert (Path(place) / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def refused(source: Path, out: Path, **options: Any) -> str:
    """What is said; nothing is left beside the source."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(ModelError) as error:
        convert(source, out, **options)
    assert sorted(out.parent.iterdir()) == before
    return f"{error.value.cause}; {error.value.help}"


def test_a_shape_that_does_not_tell_asks(tmp_path: Path) -> None:
    original(tmp_path / "source", **SQUARE)
    assert "--layout in_out" in refused(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda w: {**w, UP: w[UP].T}, "the layouts are mixed"),
        (lambda w: {name: t for name, t in w.items() if name != Q}, f"lacks 1 of 20 tensors, the first is {Q}"),
        (lambda w: {**w, Q: w[Q].fill_(float("nan"))}, f"{Q} holds numbers that are not finite"),
        (lambda w: {**w, Q: w[Q][:, 1:]}, "is [64, 63], the model makes it [64, 64]"),
        (lambda w: {**w, UP: w[UP][1:]}, "is [63, 96], the model makes it [96, 64]"),
        (lambda w: {**w, EMBEDDING: w[EMBEDDING].T}, "is [64, 97], the model makes it [97, 64]"),
        (lambda w: {**w, Q.replace("weight", "bias"): torch.zeros(64)}, "has 1 tensors that the model has not"),
        (lambda w: {**w, "lm_head.weight": w[EMBEDDING] + 1}, "a head of its own"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Any, said: str) -> None:
    original(tmp_path / "source")
    change(tmp_path / "source", damage)
    assert said in refused(tmp_path / "source", tmp_path / "out")


@pytest.mark.parametrize("lies", [lambda t: t.clone(), lambda t: t.T])
def test_a_head_that_is_the_embedding_is_left_out(tmp_path: Path, lies: Any) -> None:
    original(tmp_path / "source")
    change(tmp_path / "source", lambda w: {**w, "lm_head.weight": lies(w[EMBEDDING])})
    convert(tmp_path / "source", tmp_path / "out")
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_what_is_said_against_the_file_is_refused(tmp_path: Path) -> None:
    original(tmp_path / "source")
    said = refused(tmp_path / "source", tmp_path / "out", layout="out_in")
    assert "k_proj.weight lies as in_out, not as out_in" in said


def test_a_directory_that_is_there_is_kept(tmp_path: Path) -> None:
    original(tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    assert "is there already" in refused(tmp_path / "source", tmp_path / "out")
    (tmp_path / "out" / "mine").unlink()
    convert(tmp_path / "source", tmp_path / "out")
    assert load_model(tmp_path / "out").config.hidden_size == 64


def test_another_model_of_the_original_is_read_by_a_shape_that_is_said(tmp_path: Path) -> None:
    model = original(tmp_path / "source")
    keys = json.loads((tmp_path / "source" / "config.json").read_text())
    (tmp_path / "source" / "config.json").write_text(json.dumps({**keys, "model_type": "qwen2"}))
    assert "say the model's shape, model=350m" in refused(tmp_path / "source", tmp_path / "out")
    convert(tmp_path / "source", tmp_path / "out", shape=model.config)
    assert load_model(tmp_path / "out").config == model.config


def test_the_verb(tmp_path: Path, albor) -> None:
    original(tmp_path / "source", num_hidden_layers=24)
    done = albor("convert", "source", "out")
    assert done.code == 0 and done.out == "out\n" and "218 tensors, matrices transposed from [in, out]" in done.err
    assert albor("convert", "source", "out").code == 2
    done = albor("convert", "source", "other", "model=tiny")
    assert done.code == 2 and "E-MODEL" in done.err and not (tmp_path / "other").exists()
    assert "takes two directories" in albor("convert", "source").err
