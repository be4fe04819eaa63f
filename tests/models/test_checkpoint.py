import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from albor.models.checkpoint import load_model, save_model
from albor.models.errors import ModelError
from albor.models.llama_config import read_eos

TOKENS = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def saved(tmp_path: Path, decoder) -> Path:
    model = decoder()
    save_model(model.config, model.state_dict(), tmp_path, eos_token_id=0, pad_token_id=4)
    return tmp_path


def llama(**changes) -> transformers.LlamaForCausalLM:
    config = {"vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}  # fmt: skip
    torch.manual_seed(3)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**config, **changes}))


def edit_config(directory: Path, **changes) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@torch.no_grad()
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_a_transformers_directory_loads_sharded_or_not(tmp_path, shard):
    theirs = llama(rope_theta=500_000.0)
    theirs.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard == "20KB")
    torch.testing.assert_close(load_model(tmp_path)(TOKENS), theirs(TOKENS).logits, rtol=0, atol=1e-6)


def test_saving_and_loading_keeps_every_bit(tmp_path, saved, decoder):
    loaded = load_model(saved, dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16 and loaded.config == decoder().config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), decoder().parameters(), strict=True))
    assert read_eos(tmp_path) == {0}


def test_weights_may_be_stored_in_another_dtype(tmp_path, decoder):
    model = decoder()
    save_model(model.config, model.state_dict(), tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert {p.dtype for p in load_model(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen2"}, "model_type='qwen2'"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type='llama3'"),
        ({"head_dim": 32}, r"k_proj.weight is \[32, 64\], its config.json makes it \[64, 64\]"),
        ({"intermediate_size": 128}, r"down_proj.weight is \[64, 96\], its config.json makes it \[64, 128\]"),
        ({"num_hidden_layers": 3}, "lacks 9 of 29 tensors, the first is model.layers.2"),
        ({"num_hidden_layers": 1}, "unknown tensor model.layers.1"),
    ],
)
def test_another_architecture_is_refused(tmp_path, changes, message, saved):
    edit_config(saved, **changes)
    with pytest.raises(ModelError, match=message) as error:
        load_model(tmp_path)
    assert error.value.help


def test_a_head_of_its_own_is_refused_but_a_copy_of_the_embedding_is_not(tmp_path, saved):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, path)
    load_model(tmp_path)
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] + 1}, path)
    with pytest.raises(ModelError, match="a head of its own"):
        load_model(tmp_path)


def test_files_that_are_missing_damaged_or_pickled_are_refused(tmp_path, saved):
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path)
    weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../model.safetensors"}}')
    with pytest.raises(ModelError, match="which is not there"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path)
