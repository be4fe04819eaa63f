"""The same weights in transformers' own implementation: the same logits, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from albor.models.checkpoint import load_model, save_model

CLASSES = {"llama": transformers.LlamaForCausalLM, "qwen3": transformers.Qwen3ForCausalLM}
SHAPES = [
    # changes of the small decoder, tensors in its file
    ({"num_hidden_layers": 12}, 110),
    ({"num_hidden_layers": 24}, 218),
    ({"num_key_value_heads": 4, "rope_theta": 500_000.0}, 20),
    ({"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6}, 20),
    ({"hidden_size": 72, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 51}, 20),
    ({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}, 20),
    ({"qk_norm": True, "num_hidden_layers": 12}, 134),
    ({"qk_norm": True, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16}, 24),
    ({"qk_norm": True, "num_attention_heads": 8, "num_key_value_heads": 1}, 24),
]


def shaken(model: Any) -> Any:
    """Weights as training leaves them: norms that are not 1, and every matrix large enough to matter."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def aligned(model: Any) -> Any:
    """Its weights in memory of their own: a file's lie where they may, and a CPU's matrix-vector product of one token
    rounds differently by their alignment."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def their_model(directory: Path, dtype: torch.dtype = torch.float32) -> Any:
    return aligned(transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype))


def some_tokens(rows: int = 2, length: int = 150, vocab: int = 97) -> torch.Tensor:
    return torch.randint(0, vocab, (rows, length), generator=torch.Generator().manual_seed(2))


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def layout(changes) -> str:
    return "qwen3" if changes.get("qk_norm") else "llama"


@torch.no_grad()
@pytest.mark.parametrize(("changes", "tensors"), SHAPES, ids=str)
def test_an_export_is_the_same_function(tmp_path: Path, decoder, changes, tensors) -> None:
    ours = shaken(decoder(**changes))
    save_model(ours.config, ours.state_dict(), tmp_path, eos_token_id=0, pad_token_id=4)
    theirs = their_model(tmp_path)
    assert type(theirs) is CLASSES[layout(changes)]
    assert len(load_file(tmp_path / "model.safetensors")) == tensors == ours.config.num_tensors
    assert theirs.lm_head.weight is theirs.model.embed_tokens.weight
    assert (theirs.config.eos_token_id, theirs.config.pad_token_id, theirs.config.bos_token_id) == (0, 4, None)
    for tokens in (some_tokens(), some_tokens(1, 1)):
        assert_same(ours(tokens), theirs(tokens).logits)


@torch.no_grad()
@pytest.mark.parametrize(("changes", "tensors"), SHAPES, ids=str)
def test_a_checkpoint_of_theirs_is_the_same_function(tmp_path: Path, decoder, changes, tensors) -> None:
    ours = decoder(**changes)
    save_model(ours.config, ours.state_dict(), tmp_path / "shape")
    keys = json.loads((tmp_path / "shape" / "config.json").read_text())
    config = transformers.AutoConfig.for_model(keys.pop("model_type"), **keys)
    theirs = shaken(CLASSES[layout(changes)](config).float())
    theirs.save_pretrained(tmp_path / "theirs")
    assert len(load_file(tmp_path / "theirs" / "model.safetensors")) == tensors
    loaded = aligned(load_model(tmp_path / "theirs"))
    assert loaded.config == ours.config
    for tokens in (some_tokens(), some_tokens(1, 1)):
        assert_same(loaded(tokens), theirs(tokens).logits)


@torch.no_grad()
@pytest.mark.parametrize("qk_norm", [False, True])
def test_in_bf16_too(tmp_path: Path, decoder, qk_norm) -> None:
    """We round float32 weights where they are used, they once: the products are those of the same numbers."""
    ours = shaken(decoder(torch.bfloat16, qk_norm=qk_norm))
    save_model(ours.config, ours.state_dict(), tmp_path)
    theirs = their_model(tmp_path, torch.bfloat16)
    assert_same(ours(some_tokens()), theirs(some_tokens()).logits)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_loss_and_gradients_are_theirs(tmp_path: Path, decoder, qk_norm) -> None:
    ours = shaken(decoder(qk_norm=qk_norm))
    save_model(ours.config, ours.state_dict(), tmp_path)
    theirs = their_model(tmp_path)
    tokens = some_tokens()
    labels = torch.where(tokens % 5 == 0, -100, tokens)
    loss = ours.loss_sum(tokens[:, :-1], labels[:, 1:]) / (labels[:, 1:] != -100).sum()
    loss.backward()
    expected = theirs(tokens, labels=labels).loss
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_what_they_save_again_is_what_we_saved(tmp_path: Path, decoder) -> None:
    ours = shaken(decoder())
    save_model(ours.config, ours.state_dict(), tmp_path / "ours")
    theirs = their_model(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert back.state_dict().keys() == ours.state_dict().keys()
    for name, tensor in ours.state_dict().items():
        assert_same(back.state_dict()[name], tensor)
