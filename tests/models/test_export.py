"""Exported models: transformers reads them and computes the same, to the last bit."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from albor.config.schema.model import Model
from albor.config.schema.tokenizer import SPECIAL_TOKENS
from albor.data.chat import CHAT_TEMPLATE, Message, render
from albor.data.tokenizer import Codec
from albor.inference.llama_cpp import LlamaModel
from albor.models.checkpoint import load_model, save_model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.export import export_model
from albor.models.gguf import write_gguf
from albor.models.llama_config import read_config
from albor.models.llama_library import library
from albor.report.model_card import ModelCard
from albor.report.model_card import render as render_card
from tests.models.gguf_example import SHAPE, example
from tests.models.test_transformers import aligned, assert_same, some_tokens

OLD, NEW = ("rope_theta", "rope_scaling", "torch_dtype"), ("rope_parameters", "dtype")
"""Keys that transformers wrote before its version 5, and since."""


def exported(directory: Path, out: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    out.mkdir()
    export_model(directory, out, dtype=dtype)
    return out


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model that answers, beside the one it was made of."""
    place = tmp_path_factory.mktemp("export")
    example(place / "model")
    (place / "model" / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return exported(place / "model", place / "out")


@pytest.fixture(scope="module")
def theirs(chat: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(chat)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    "changes",
    [{}, {"qk_norm": True}, {"num_hidden_layers": 24}, {"rope_theta": 500_000.0}, {"head_dim": 24}],
    ids=str,
)
def test_it_is_the_same_function(tmp_path: Path, changes: dict[str, Any], dtype: torch.dtype) -> None:
    example(tmp_path / "model", **changes)
    out = exported(tmp_path / "model", tmp_path / "out", dtype)
    ours = aligned(load_model(tmp_path / "model", dtype=dtype))
    loaded = aligned(transformers.AutoModelForCausalLM.from_pretrained(out))
    assert loaded.dtype == dtype and loaded.lm_head.weight is loaded.model.embed_tokens.weight
    for tokens in (some_tokens(vocab=512), some_tokens(1, 1)):
        assert_same(ours(tokens), loaded(tokens).logits)


def test_the_file_holds_each_tensor_once(tmp_path: Path) -> None:
    example(tmp_path / "model", num_hidden_layers=24)
    out = exported(tmp_path / "model", tmp_path / "out")
    with safe_open(out / "model.safetensors", framework="pt") as file:
        assert len(file.keys()) == 218 and "lm_head.weight" not in file.keys()  # noqa: SIM118 (not a dict)
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
        assert file.metadata() == {"format": "pt"}


@torch.no_grad()
def test_their_checkpoint_in_shards_is_exported_too(tmp_path: Path) -> None:
    example(tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="100KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    for name in ("tokenizer.json",):
        (tmp_path / "theirs" / name).write_bytes((tmp_path / "model" / name).read_bytes())
    out = exported(tmp_path / "theirs", tmp_path / "out", torch.float32)
    again = aligned(transformers.AutoModelForCausalLM.from_pretrained(out))
    assert_same(again(some_tokens(vocab=512)).logits, aligned(model)(some_tokens(vocab=512)).logits)


@pytest.mark.parametrize("gone", [OLD, NEW, ()], ids=["new keys", "old keys", "both"])
def test_readers_of_either_time_find_rope_and_dtype(chat: Path, tmp_path: Path, gone: tuple[str, ...]) -> None:
    keys = json.loads((chat / "config.json").read_text())
    assert keys.keys() >= {*OLD, *NEW}
    left = {key: value for key, value in keys.items() if key not in gone}
    (tmp_path / "config.json").write_text(json.dumps(left))
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.rope_parameters["rope_theta"] == 20_000 and config.dtype == torch.bfloat16
    assert read_config(tmp_path).rope_theta == 20_000
    assert not config.attention_bias and not config.mlp_bias and config.tie_word_embeddings and config.head_dim == 16


# --- the tokenizer ---


@given(text=st.text(max_size=60))
def test_texts_have_our_ids(chat: Path, theirs: Any, text: str) -> None:
    codec = Codec.of_model(chat)
    ids = codec.encode(text)
    assert theirs(text, split_special_tokens=True)["input_ids"] == ids
    assert theirs.decode(ids) == codec.decode(ids) == text


def test_control_tokens_are_read_by_their_names(chat: Path, theirs: Any) -> None:
    codec = Codec.of_model(chat)
    assert theirs.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(16))
    assert codec.fim is not None
    spoken = theirs("<|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>")["input_ids"]
    parts = (codec.fim.prefix, *codec.encode("a = "), codec.fim.suffix, *codec.encode("\nb"), codec.fim.middle)
    assert spoken == list(parts)
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.bos_token_id) == (codec.eos_id, codec.pad_id, None)
    assert theirs.model_max_length == SHAPE["max_position_embeddings"]
    assert theirs("x", return_tensors="pt").keys() == {"input_ids", "attention_mask"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text("ab <>|\n\té", max_size=20)),
        min_size=1,
        max_size=4,
    )
)
def test_conversations_have_our_ids(chat: Path, theirs: Any, said: list[tuple[Any, str]]) -> None:
    codec = Codec.of_model(chat)
    ours = render(codec, [Message(role, content) for role, content in said], add_generation_prompt=True).tokens
    messages = [{"role": role, "content": content} for role, content in said]
    found = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert list(found) == ours


@pytest.mark.parametrize("last", [0, 8])
def test_an_answer_ends_where_its_message_or_text_does(chat: Path, theirs: Any, last: int) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(chat)
    ids = theirs("def f():", return_tensors="pt")
    start = ids["input_ids"].shape[1]

    def wish(found: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = last if found.shape[1] == start + 2 else 99
        return torch.nn.functional.one_hot(torch.tensor([token]), scores.shape[1]).float()

    made = model.generate(**ids, max_new_tokens=12, logits_processor=[wish])
    assert made[0, start:].tolist() == [99, 99, last]
    assert model.generation_config.pad_token_id == 4


@pytest.mark.parametrize("answers", [True, False])
def test_the_code_on_its_card_runs(chat: Path, answers: bool, capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(name="x", stage=None, parameters=1, shape=None, files=[], dtype="bf16", chat=answers)
    code = render_card(card).split("```python\n")[1].split("\n```")[0]
    exec(compile(code.replace("PATH", str(chat)), "card", "exec"), {})
    assert capsys.readouterr().out.startswith("<|im_start|>user\nWrite" if answers else "def fibonacci(n):\n")


def test_llama_cpp_ends_there_too(chat: Path) -> None:
    write_gguf(chat, chat.parent / "chat.gguf", kind="f16")
    model, llama = LlamaModel(chat.parent / "chat.gguf"), library()
    llama.llama_model_get_vocab.restype = ctypes.c_void_p
    llama.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    llama.llama_vocab_is_eog.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    vocabulary = llama.llama_model_get_vocab(model.pointer)
    assert [token for token in (0, 1, 2, 3, 7, 8, 99) if llama.llama_vocab_is_eog(vocabulary, token) & 1] == [0, 8]


def test_a_base_model_has_no_template_and_ends_with_its_text(tmp_path: Path) -> None:
    example(tmp_path / "model")
    out = exported(tmp_path / "model", tmp_path / "out")
    assert transformers.AutoTokenizer.from_pretrained(out).chat_template is None
    assert transformers.GenerationConfig.from_pretrained(out).eos_token_id == 0
    assert not (out / "chat_template.jinja").exists()


def test_a_template_in_the_old_place_is_found(tmp_path: Path) -> None:
    example(tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    out = exported(tmp_path / "model", tmp_path / "out")
    assert (out / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert json.loads((out / "tokenizer_config.json").read_text())["eos_token"] == "<|endoftext|>"


# --- what is refused ---


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model = example(tmp_path / "model")
    weights = dict(model.state_dict())
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_model(model.config, weights, tmp_path / "model", eos_token_id=0)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds numbers that are not finite"):
        export_model(tmp_path / "model", tmp_path / "out", dtype=torch.bfloat16)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_end_of_text_has_to_be_known(tmp_path: Path) -> None:
    model = Decoder(Model(**SHAPE))
    example(tmp_path)
    (tmp_path / "roles.json").unlink()
    save_model(model.config, model.state_dict(), tmp_path)
    with pytest.raises(ModelError, match="does not say which token ends a text"):
        export_model(tmp_path, tmp_path / "out", dtype=torch.bfloat16)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    example(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        export_model(tmp_path, tmp_path / "out", dtype=torch.bfloat16)
