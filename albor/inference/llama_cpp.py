"""llama.cpp through its C interface: models, and contexts in which tokens are decoded.

The layouts are those of llama.h at build 11549 (xllamacpp 2026.10); a library whose defaults lie elsewhere is refused.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int32, c_size_t, c_uint8, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from albor.models.errors import ModelError
from albor.models.llama_library import library

BATCH = 512
"""Most tokens of one call."""
MOST_SEQUENCES = 256
"""LLAMA_MAX_SEQ."""
MAP = 1
"""LLAMA_LOAD_MODE_MMAP."""
F32, F16 = 0, 1
"""ggml's types of keys and values, and llama.cpp's types of files whose matrices are all of them."""
ERROR = 4
"""GGML_LOG_LEVEL_ERROR."""

Numbers = Sequence[int] | np.ndarray
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, c_char_p, c_void_p)

# Both structures are followed by room for fields that a later version may append: the library copies as much as it
# knows, from what it filled in itself.


class ModelParams(Structure):
    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
        ("later", c_uint8 * 64),
    )


class ContextParams(Structure):
    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("unnamed", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("later", c_uint8 * 96),
    )


class Batch(Structure):
    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "use_extra_bufts": 1}
CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    **dict.fromkeys(("rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type"), -1),
    **dict.fromkeys(("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "defrag_thold"), -1),
    **dict.fromkeys(("type_k", "type_v", "offload_kqv", "no_perf", "op_offload", "swa_full"), 1),
}
"""What the library is expected to say; what is not named is 0 or null."""

TYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (LogCallback, c_void_p)),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_n_ctx_train": (c_int32, (c_void_p,)),
    "llama_model_ftype": (c_int32, (c_void_p,)),
    "llama_model_meta_val_str": (c_int32, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_tokenize": (c_int32, (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_free": (None, (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_cp": (None, (c_void_p, c_int32, c_int32, c_int32, c_int32)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_get_logits": (c_void_p, (c_void_p,)),
}

_said: list[str] = []
"""The errors of the last call, the first of which says most."""


def _listen(level: int, text: bytes, _: int) -> None:
    if level == ERROR:
        _said.append(text.decode(errors="replace").strip())


_listener = LogCallback(_listen)  # the library keeps its address


@cache
def llama() -> Any:
    """The library, typed and silent. Raises ModelError when it is not installed, or is another than expected."""
    found = library()
    try:
        for name, (result, arguments) in TYPES.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise _other(str(error)) from None
    for params, defaults in (
        (found.llama_model_default_params(), MODEL_DEFAULTS),
        (found.llama_context_default_params(), CONTEXT_DEFAULTS),
    ):
        for name, *_ in params._fields_[:-1]:
            if (value := getattr(params, name) or 0) != defaults.get(name, 0):
                raise _other(f"{type(params).__name__}.{name} is {value}")
    found.llama_log_set(_listener, None)
    found.llama_backend_init()
    return found


def _other(difference: str) -> ModelError:
    return ModelError(
        f"this xllamacpp has another llama.cpp than albor knows: {difference}",
        help="pip install 'xllamacpp==2026.10.11549'",
    )


def _failure(what: str, help: str) -> ModelError:  # noqa: A002
    said = f": {_said[0]}" if _said else ""
    return ModelError(f"llama.cpp cannot {what}{said}", help=help)


class LlamaModel:
    """A model and its vocabulary, freed when nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        """Maps a GGUF file into memory; none of it goes to a GPU. Raises ModelError."""
        self._llama = llama()
        params = self._llama.llama_model_default_params()
        params.n_gpu_layers, params.load_mode = 0, MAP
        _said.clear()
        self.pointer = self._llama.llama_model_load_from_file(str(path).encode(), params)
        if not self.pointer:
            raise _failure(f"load {path}", "give a whole GGUF file; export the model again")
        weakref.finalize(self, self._llama.llama_model_free, self.pointer)
        self._vocab = self._llama.llama_model_get_vocab(self.pointer)
        self.context: int = self._llama.llama_model_n_ctx_train(self.pointer)
        self.vocab_size: int = self._llama.llama_vocab_n_tokens(self._vocab)
        self.full_precision: bool = self._llama.llama_model_ftype(self.pointer) == F32

    def value(self, key: str) -> str | None:
        """What the file says under ``key``."""
        room = ctypes.create_string_buffer(256)
        length = self._llama.llama_model_meta_val_str(self.pointer, key.encode(), room, len(room))
        return None if length < 0 else room.value.decode()

    def tokenize(self, text: str) -> list[int]:
        """The ids of ``text``, nothing added, and control tokens read as text."""
        data = text.encode()
        room = (c_int32 * (len(data) + 1))()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), room, len(room), False, False)
        return room[:count]


class LlamaContext:
    """Keys and values of some sequences, each apart from the others; freed when nobody refers to it any more."""

    def __init__(
        self, model: LlamaModel, sequences: int, capacity: int, threads: int, *, flash: bool | None = None
    ) -> None:
        """Room for ``capacity`` positions in each of the sequences, numbered from 0. ``flash`` attention is the
        library's choice unless it is said. Raises ModelError."""
        self._llama, self._model = llama(), model
        params = self._llama.llama_context_default_params()
        params.n_ctx, params.n_seq_max = sequences * capacity, sequences
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = F32 if model.full_precision else F16
        if model.full_precision:
            flash = False  # it rounds keys and values to float16
        if flash is not None:
            params.flash_attn_type = int(flash)
        params.offload_kqv = params.op_offload = False
        _said.clear()
        self._pointer = self._llama.llama_init_from_model(model.pointer, params)
        if not self._pointer:
            raise _failure(
                f"reserve {sequences} sequences of {capacity} tokens", "lower the batch size, or free some memory"
            )
        weakref.finalize(self, self._llama.llama_free, self._pointer)
        self._memory = self._llama.llama_get_memory(self._pointer)
        # Made once, and filled for each call: a new array and its address take as long as a layer of a small model.
        token, position, sequence = (np.zeros(BATCH, np.int32) for _ in range(3))
        ones, asked = np.ones(BATCH, np.int32), np.zeros(BATCH, np.int8)
        places = sequence.ctypes.data + np.arange(BATCH, dtype=np.uint64) * sequence.itemsize
        self._given, self._held = (token, position, sequence, asked), (ones, places)
        pointers = (array.ctypes.data for array in (position, ones, places, asked))
        self._batch = Batch(0, token.ctypes.data, None, *pointers)

    def decode(self, tokens: Numbers, positions: Numbers, sequences: Numbers, wanted: Numbers | int) -> np.ndarray:
        """Reads up to BATCH tokens; the logits [W, V], float32, behind those that are wanted, until the next call."""
        count = self._batch.n_tokens = len(tokens)
        token, position, sequence, asked = (array[:count] for array in self._given)
        token[:], position[:], sequence[:], asked[:] = tokens, positions, sequences, wanted
        _said.clear()
        status = self._llama.llama_decode(self._pointer, self._batch)
        if status != 0:
            raise _failure(f"decode {count} tokens (status {status})", "lower the batch size, or free some memory")
        shape = int(np.count_nonzero(asked)), self._model.vocab_size
        if not shape[0]:
            return np.empty(shape, np.float32)
        numbers = (c_float * (shape[0] * shape[1])).from_address(self._llama.llama_get_logits(self._pointer))
        return np.ndarray(shape, np.float32, memoryview(numbers))

    def copy(self, source: int, target: int) -> None:
        """Gives a sequence all that another has."""
        self._llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def cut(self, sequence: int, length: int) -> None:
        """Forgets all but the first positions of a sequence."""
        self._llama.llama_memory_seq_rm(self._memory, sequence, length, -1)
