"""GGUF files, which llama.cpp runs: written from a model's directory, one tensor at a time, and read back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albor.config.gguf_layout import ALIGNMENT, Entry, entries
from albor.config.schema.model import Model
from albor.config.schema.quantize import Kind, Type
from albor.models.checkpoint import stored_weights
from albor.models.errors import ModelError
from albor.models.gguf_vocabulary import Vocabulary, read_vocabulary
from albor.models.llama_config import read_config, with_head_dim
from albor.models.llama_library import installing, library
from albor.runs.files import atomic_path

FILE_TYPES: dict[Kind, str] = {"f32": "ALL_F32", "q4_k_m": "MOSTLY_Q4_K_M"}
"""What gguf calls a kind; the others are MOSTLY_ and their name."""
ENDS = ("eos", "eot", "eom")
"""GGUF's names for the tokens that end a text, in the order in which they are given out."""


def write_gguf(
    directory: Path,
    out: Path,
    *,
    kind: Kind,
    embedding_kind: Type | None = None,
    name: str | None = None,
    licence: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes a model's directory, ours or one of Hugging Face, as one GGUF file that is whole or absent.

    ``embedding_kind`` is the tied embedding's type; null takes the kind's own (``EMBEDDING_KINDS``). Norms stay
    float32. ``progress`` is told tensors done and to do. No more than one tensor is held in memory. ``q4_k_m``
    quantises by llama.cpp, the others by numpy. Raises ModelError.
    """
    gguf = _package()
    model = read_config(directory)
    weights = stored_weights(directory, model)
    vocabulary = read_vocabulary(directory, model.vocab_size)
    table = list(entries(model, kind, embedding_kind))
    with atomic_path(out) as temporary:
        writer = gguf.GGUFWriter(temporary, "qwen3" if model.qk_norm else "llama")
        try:
            _describe(writer, gguf, model, kind, name or model.name, licence)
            _add_vocabulary(writer, vocabulary)
            for entry in table:
                stored = gguf.GGMLQuantizationType[entry.type.upper()]
                # The type of the numbers is only asked for where the type of the tensor is not given.
                writer.add_tensor_info(entry.name, entry.shape, np.dtype(np.float32), entry.bytes, raw_dtype=stored)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for done, entry in enumerate(table):
                progress(done, len(table))
                writer.write_tensor_data(_stored(gguf, entry, weights[entry.source].read().float().numpy()))
            progress(len(table), len(table))
        finally:
            writer.close()


def read_gguf(path: Path) -> tuple[Model, dict[str, Tensor]]:
    """The model in a file that ``write_gguf`` wrote: its shape, and its weights dequantised to float32.

    Raises ModelError.
    """
    gguf = _package()
    try:
        reader = gguf.GGUFReader(path)
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        model = _shape(reader)
        weights = {}
        for entry in entries(model, "f32"):
            tensor = tensors[entry.name]
            numbers = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(entry.shape)
            weights[entry.source] = torch.tensor(_turned(numbers, entry.heads, back=True))
    except (ValueError, KeyError, IndexError, OSError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as GGUF: {error}", help="export the model again") from None
    return model, weights


def _package() -> ModuleType:
    try:
        import gguf
    except ImportError:
        raise installing("gguf") from None
    return gguf  # type: ignore[no-any-return]


# --- what stands before the tensors ---


def _describe(writer: Any, gguf: ModuleType, model: Model, kind: Kind, name: str, licence: str | None) -> None:
    writer.add_type("model")
    writer.add_name(name)
    if licence:
        writer.add_license(licence)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES.get(kind, f"MOSTLY_{kind.upper()}")])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_custom_alignment(ALIGNMENT)
    writer.add_vocab_size(model.vocab_size)
    writer.add_context_length(model.max_position_embeddings)
    writer.add_embedding_length(model.hidden_size)
    writer.add_block_count(model.num_hidden_layers)
    writer.add_feed_forward_length(model.intermediate_size)
    writer.add_head_count(model.num_attention_heads)
    writer.add_head_count_kv(model.num_key_value_heads)
    writer.add_key_length(model.head_width)
    writer.add_value_length(model.head_width)
    writer.add_rope_dimension_count(model.head_width)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_layer_norm_rms_eps(model.rms_norm_eps)


def _add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.roles)
    writer.add_token_merges(vocabulary.merges)
    for key, number in [*zip(ENDS, vocabulary.ends, strict=False), ("padding", vocabulary.pad)]:
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", number)
    # Without them llama.cpp's /infill answers 501.
    for key, number in vocabulary.fim.items():
        writer.add_uint32(f"tokenizer.ggml.fim_{key}_token_id", number)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)


def _shape(reader: Any) -> Model:
    def value(key: str) -> Any:
        found = reader.fields[key].contents()
        return float(f"{found:.7g}") if isinstance(found, float) else found  # it was stored as float32

    layout = value("general.architecture")
    model = Model(
        name=value("general.name"),
        hidden_size=value(f"{layout}.embedding_length"),
        num_hidden_layers=value(f"{layout}.block_count"),
        num_attention_heads=value(f"{layout}.attention.head_count"),
        num_key_value_heads=value(f"{layout}.attention.head_count_kv"),
        intermediate_size=value(f"{layout}.feed_forward_length"),
        vocab_size=value(f"{layout}.vocab_size"),
        max_position_embeddings=value(f"{layout}.context_length"),
        rope_theta=value(f"{layout}.rope.freq_base"),
        rms_norm_eps=value(f"{layout}.attention.layer_norm_rms_epsilon"),
        qk_norm=layout == "qwen3",
    )
    return with_head_dim(model, value(f"{layout}.attention.key_length"))


# --- tensors ---


def _stored(gguf: ModuleType, entry: Entry, numbers: np.ndarray) -> np.ndarray:
    """A float32 tensor's bytes in a file."""
    numbers = _turned(numbers, entry.heads)
    if entry.type in ("q4_k", "q6_k"):
        return _quantised(numbers, int(gguf.GGMLQuantizationType[entry.type.upper()]), entry.bytes)
    stored: np.ndarray = gguf.quantize(numbers, gguf.GGMLQuantizationType[entry.type.upper()])
    return stored


def _quantised(numbers: np.ndarray, stored: int, size: int) -> np.ndarray:
    """Bytes [size] of a matrix in one of the types that only llama.cpp can make."""
    quantise = library().ggml_quantize_chunk
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    made = np.empty(size, np.uint8)
    numbers = np.ascontiguousarray(numbers)
    written = quantise(stored, numbers.ctypes.data, made.ctypes.data, 0, *numbers.shape, None)
    if written != size:
        raise ModelError(f"llama.cpp made {written} bytes of {size}", help="pip install -U 'albor[gguf]'")
    return made


def _turned(numbers: np.ndarray, heads: int | None, *, back: bool = False) -> np.ndarray:
    """Rows of queries or keys, each head's halves [first, second] interleaved as llama's rotation pairs them."""
    if heads is None:
        return numbers
    shape = (heads, -1, 2, numbers.shape[1]) if back else (heads, 2, -1, numbers.shape[1])
    return numbers.reshape(shape).swapaxes(1, 2).reshape(numbers.shape)
