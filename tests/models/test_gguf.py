import json
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, get_args

import gguf
import numpy as np
import pytest
import torch

from albor.config.gguf_layout import BLOCKS, entries, gguf_bytes
from albor.config.schema.model import Model
from albor.config.schema.quantize import Kind, Type
from albor.config.schema.tokenizer import SPECIAL_TOKENS
from albor.models import gguf as ours
from albor.models.errors import ModelError
from albor.models.gguf import read_gguf, write_gguf
from albor.models.gguf_vocabulary import read_vocabulary
from albor.models.llama_library import library
from albor.models.tensor_stream import StoredTensor
from tests.models.gguf_example import SHAPE, example

KINDS: tuple[Kind, ...] = get_args(Kind)
STEPS: dict[Type, float] = {"q8_0": 1 / 254, "q5_1": 1 / 62, "q5_0": 1 / 16, "q4_1": 1 / 30, "q4_0": 1 / 8,
                            "f16": 2**-11, "bf16": 2**-8, "f32": 0, "q4_k": 1 / 15, "q6_k": 1 / 32}  # fmt: skip
"""The largest error there may be: of a block's range for the kinds with a minimum, of its largest number for others."""
WITH_MINIMUM = ("q5_1", "q4_1", "q4_k")
LADDER: dict[str, Any] = {
    "name": "m",
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32768,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    example(path)
    return path


def written(directory: Path, kind: Kind = "f16", **options: Any) -> Path:
    out = directory / f"{kind}.gguf"
    write_gguf(directory, out, kind=kind, **options)
    return out


def value(path: Path, key: str) -> Any:
    field = gguf.GGUFReader(path).fields.get(key)
    return field and field.contents()


# --- tensors ---


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_float32_file_holds_every_bit(tmp_path, qk_norm):
    model = example(tmp_path, qk_norm=qk_norm)
    config, weights = read_gguf(written(tmp_path, "f32"))
    assert config == Model(**{**SHAPE, "qk_norm": qk_norm, "initializer_range": 0.02})
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert value(tmp_path / "f32.gguf", "general.architecture") == ("qwen3" if qk_norm else "llama")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_is_within_the_step_of_its_type(tmp_path, kind):
    model = example(tmp_path, hidden_size=256, intermediate_size=512, num_hidden_layers=2)
    source = model.state_dict()
    _, weights = read_gguf(written(tmp_path, kind))
    for entry in entries(model.config, kind):
        size = min(32, BLOCKS[entry.type][0])
        before, after = (t[entry.source].numpy().reshape(-1, size) for t in (source, weights))
        widest = np.ptp(before, 1) if entry.type in WITH_MINIMUM else abs(before).max(1)
        # The scale of a block is a float16 itself, which counts up to 127 times.
        assert (abs(after - before).max(1) <= 1.1 * STEPS[entry.type] * widest + 1e-6).all(), entry
        assert (entry.type == "f32") == np.array_equal(before, after)


def test_the_mixture_gives_more_bits_where_llama_cpp_does():
    model = Model(**{**LADDER, "num_hidden_layers": 16, "intermediate_size": 2048})
    table = {entry.name: entry.type for entry in entries(model, "q4_k_m")}
    for name in ("attn_v", "ffn_down"):
        larger = [layer for layer in range(16) if table[f"blk.{layer}.{name}.weight"] == "q6_k"]
        assert larger == [0, 1, 4, 7, 10, 13, 14, 15]
    assert table["token_embd.weight"] == "q6_k" and table["blk.0.attn_q.weight"] == "q4_k"
    assert table["blk.0.attn_norm.weight"] == "f32"


def test_rows_that_no_block_fits_get_another_type():
    narrow = Model(**{**SHAPE, "intermediate_size": 90})
    table = {entry.name: entry.type for entry in entries(narrow, "q4_0")}
    assert table["blk.0.ffn_down.weight"] == "f16" and table["blk.0.ffn_up.weight"] == "q4_0"
    table = {entry.name: entry.type for entry in entries(narrow, "q4_k_m")}
    assert table["token_embd.weight"] == "q8_0" and table["blk.0.attn_q.weight"] == "q5_0"
    assert table["blk.0.ffn_down.weight"] == "f16"


def test_one_tensor_is_held_at_a_time(tmp_path, directory, monkeypatch):
    seen: list[weakref.ref[torch.Tensor]] = []
    read = StoredTensor.read

    def watched(self: StoredTensor) -> torch.Tensor:
        assert not [held for held in seen if held() is not None]
        tensor = read(self)
        seen.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(StoredTensor, "read", watched)
    done: list[tuple[int, int]] = []
    write_gguf(directory, tmp_path / "a.gguf", kind="q8_0", progress=lambda *at: done.append(at))
    assert len(seen) == 29 and done == [(n, 29) for n in range(30)]


def test_a_file_is_whole_or_absent(tmp_path, directory, monkeypatch):
    write_gguf(directory, tmp_path / "a.gguf", kind="q8_0")
    before = (tmp_path / "a.gguf").read_bytes()
    write_gguf(directory, tmp_path / "a.gguf", kind="q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == before, "no time, no order, no chance"

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ours, "_stored", full)
    with pytest.raises(OSError, match="no space"):
        write_gguf(directory, tmp_path / "a.gguf", kind="f16")
    assert (tmp_path / "a.gguf").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


# --- sizes ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_is_foretold(tmp_path, kind):
    model = example(tmp_path, hidden_size=256, intermediate_size=512, vocab_size=1024)
    for embedding in (None, "q5_0"):
        size = written(tmp_path, kind, embedding_kind=embedding).stat().st_size
        assert gguf_bytes(model.config, kind, embedding) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize(
    ("layers", "width", "kind", "embedding", "megabytes"),
    [
        (12, 2048, "q4_0", "q8_0", 97.06),
        (12, 2048, "q4_0", "q5_0", 84.5),
        (16, 1536, "q4_0", "q5_0", 90.4),
        (24, 4096, "q4_0", "q6_k", 234.1),
        (24, 4096, "q4_k_m", None, 247.9),
    ],
)
def test_sizes_that_llama_quantize_made(layers, width, kind, embedding, megabytes):
    """POSTTRAINING.md; llama-quantize stores a tied embedding as Q6_K."""
    model = Model(**{**LADDER, "num_hidden_layers": layers, "intermediate_size": width})
    assert gguf_bytes(model, kind, embedding) / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_sizes_are_foretold_without_torch():
    probe = "import sys, albor.config.gguf_layout; assert not {'torch', 'numpy', 'gguf'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", probe], timeout=60, check=True)


# --- the vocabulary ---


def test_what_a_file_says(tmp_path):
    example(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    path = written(tmp_path, "q8_0", name="albor 50m", licence="apache-2.0")
    assert value(path, "general.name") == "albor 50m" and value(path, "general.license") == "apache-2.0"
    assert value(path, "general.file_type") == gguf.LlamaFileType.MOSTLY_Q8_0
    assert value(path, "general.quantization_version") == 2
    assert value(path, "tokenizer.ggml.model") == "gpt2" and value(path, "tokenizer.ggml.pre") == "starcoder"
    ids = {"eos": 0, "padding": 4, "fim_pre": 1, "fim_suf": 2, "fim_mid": 3, "fim_pad": 4, "fim_rep": 5, "fim_sep": 6}
    assert {key: value(path, f"tokenizer.ggml.{key}_token_id") for key in ids} == ids
    assert value(path, "tokenizer.ggml.bos_token_id") is None
    assert value(path, "tokenizer.ggml.add_bos_token") is value(path, "tokenizer.ggml.add_eos_token") is False
    assert value(path, "tokenizer.ggml.tokens")[:16] == list(SPECIAL_TOKENS)
    assert value(path, "tokenizer.ggml.token_type") == [3] * 16 + [1] * 496
    assert len(value(path, "tokenizer.ggml.merges")) == 512 - 16 - 256
    assert value(path, "tokenizer.chat_template") == "{{ messages }}"
    (tmp_path / "chat_template.jinja").write_text("jinja")
    assert read_vocabulary(tmp_path, 512).chat_template == "jinja"
    templates = [{"name": "tools", "template": "x"}, {"name": "default", "template": "y"}]
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert read_vocabulary(tmp_path, 512).chat_template == "y"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_directory_of_hugging_face(tmp_path):
    """Without roles: config.json says what ends a text, the usual names which tokens fill in."""
    example(tmp_path)
    (tmp_path / "roles.json").unlink()
    edit(tmp_path / "config.json", eos_token_id=[8, 0])
    layout = json.loads((tmp_path / "tokenizer.json").read_text())
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in layout["model"]["merges"]]
    spaces = {**layout["added_tokens"][0], "id": 512, "content": "   ", "special": False}
    edit(tmp_path / "tokenizer.json", model={**layout["model"], "merges": merges},
         added_tokens=[*layout["added_tokens"], spaces])  # fmt: skip
    found = read_vocabulary(tmp_path, 520)
    assert found.ends == (0, 8) and found.pad == 0
    assert found.fim == {"pre": 1, "suf": 2, "mid": 3, "pad": 0, "rep": 5, "sep": 6}
    assert found.roles[512:] == [4] + [5] * 7 and len(set(found.tokens)) == 520
    assert found.merges == [" ".join(merge) for merge in merges]
    edit(tmp_path / "config.json", eos_token_id=None)
    with pytest.raises(ModelError, match="which token ends a text"):
        read_vocabulary(tmp_path, 520)


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {**BYTES, "add_prefix_space": True}},
        {"pre_tokenizer": {**BYTES, "use_regex": False}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**DIGITS, "individual_digits": False}, BYTES]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES, DIGITS]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [DIGITS]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split"}, DIGITS, BYTES]}},
        {"model": {"type": "BPE", "vocab": {}, "merges": [], "ignore_merges": True}},
        {"model": {"type": "Unigram", "vocab": []}},
    ],
    ids=str,
)
def test_a_tokenizer_that_llama_cpp_may_read_otherwise_is_refused(tmp_path, changes):
    example(tmp_path)
    edit(tmp_path / "tokenizer.json", **changes)
    with pytest.raises(ModelError, match="splits text in a way") as error:
        write_gguf(tmp_path, tmp_path / "a.gguf", kind="f16")
    assert error.value.help and not (tmp_path / "a.gguf").exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path, directory):
    with pytest.raises(ModelError, match="a tokenizer of 512 tokens and a model of 511"):
        read_vocabulary(directory, 511)
    with pytest.raises(ModelError, match="does not exist"):
        read_vocabulary(tmp_path, 512)


# --- what can be wrong ---


@pytest.mark.parametrize("cut", [0, 3, 100, 5000, -4000, -1])
def test_a_file_cut_short_is_not_read(tmp_path, directory, cut):
    data = written(directory).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[:cut])
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        read_gguf(tmp_path / "cut.gguf")


@pytest.mark.parametrize("content", [pickle.dumps([1]), b"GGUF" + bytes(100), b"x" * 5000])
def test_nor_is_another_file(tmp_path, content):
    (tmp_path / "other.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        read_gguf(tmp_path / "other.gguf")
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        read_gguf(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize(("package", "kind"), [("gguf", "f16"), ("xllamacpp", "q4_k_m")])
def test_a_package_that_is_not_installed(tmp_path, monkeypatch, package, kind):
    example(tmp_path, hidden_size=256)
    library.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=f"{package} is not installed") as error:
        write_gguf(tmp_path, tmp_path / "a.gguf", kind=kind)
    assert error.value.help == "pip install 'albor[gguf]'" and not (tmp_path / "a.gguf").exists()


def test_weights_of_another_shape_are_refused_before_anything_is_written(tmp_path):
    example(tmp_path)
    edit(tmp_path / "config.json", intermediate_size=128)
    with pytest.raises(ModelError, match=r"its config\.json makes it"):
        write_gguf(tmp_path, tmp_path / "a.gguf", kind="f16")
    assert not list(tmp_path.glob("*.gguf"))
