"""Model directories: ``model.safetensors`` and ``config.json``, the form that transformers' LlamaForCausalLM loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.llama_config import CONFIG_FILE, config_text, read_config, read_json
from albor.runs.checkpoints import INDEX as CHECKPOINT_INDEX
from albor.runs.files import atomic_path, sha256_file, write_text

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"


def save_model(
    config: Model,
    weights: Mapping[str, Tensor],
    directory: Path,
    *,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a decoder's state dict and config.json, each file whole or not at all.

    ``dtype`` is that of the tensors in the file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in weights.items()}
    save_tensors(tensors, directory / WEIGHTS_FILE)
    text = config_text(config, dtype=dtype, eos_token_id=eos_token_id, pad_token_id=pad_token_id)
    write_text(directory / CONFIG_FILE, text)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file, written atomically. transformers reads only files whose metadata say ``format: pt``."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata={"format": "pt"})


def load_model(directory: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Decoder:
    """A decoder with float32 weights from a directory of ours or of Hugging Face, sharded or not.

    ``dtype`` is the computing dtype. Raises ModelError.
    """
    config = read_config(directory)
    with torch.device("meta"):
        model = Decoder(config, dtype)
    model.load_state_dict(load_weights(directory, config, device), assign=True)
    return model


def load_weights(directory: Path, config: Model, device: str = "cpu") -> dict[str, Tensor]:
    """The float32 tensors of a directory, checked against ``config`` by name and shape. Raises ModelError."""
    return dict(Weights(directory, config, device))


class Weights:
    """The tensors of a directory, read one at a time."""

    def __init__(self, directory: Path, config: Model, device: str = "cpu") -> None:
        """Checks names and shapes against ``config``. Raises ModelError."""
        with torch.device("meta"):
            self._wanted = {name: tensor.shape for name, tensor in Decoder(config).state_dict().items()}
        self._device = device
        self._places: dict[str, Path] = {}
        _refuse_damaged(directory)
        for path in _weight_files(directory):
            self._places |= dict.fromkeys(self._names(path), path)
        if HEAD in self._places:
            self._refuse_own_head(directory)
        missing = sorted(self._wanted.keys() - self._places.keys())
        if missing:
            raise ModelError(
                f"{directory} lacks {len(missing)} of {len(self._wanted)} tensors, the first is {missing[0]}",
                help="a download or an export was cut off: make the directory again",
            )

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Names and float32 tensors, file by file. Raises ModelError."""
        for path in dict.fromkeys(self._places.values()):
            with _opened(path, self._device) as file:
                for name in (name for name in self._wanted if self._places[name] == path):
                    yield name, file.get_tensor(name).to(torch.float32)

    def __getitem__(self, name: str) -> Tensor:
        """One tensor, float32. Raises ModelError."""
        path = self._places[name]
        with _opened(path, self._device) as file:
            tensor: Tensor = file.get_tensor(name).to(torch.float32)
        return tensor

    def _names(self, path: Path) -> Iterator[str]:
        """A file's tensors. Frequencies that old exports stored are recomputed, so they are passed over."""
        with _opened(path, self._device) as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                if name.endswith("rotary_emb.inv_freq"):
                    continue
                shape = torch.Size(file.get_slice(name).get_shape())
                expected = self._wanted.get(EMBEDDING if name == HEAD else name)
                if expected is None:
                    raise ModelError(f"{path} has an unknown tensor {name}", help="start from a Llama-layout model")
                if shape != expected:
                    raise ModelError(
                        f"{path}: {name} is {list(shape)}, its config.json makes it {list(expected)}",
                        help="config.json and the weights belong to different models",
                    )
                yield name

    def _refuse_own_head(self, directory: Path) -> None:
        if EMBEDDING not in self._places or not torch.equal(self[HEAD], self[EMBEDDING]):
            raise ModelError(
                f"{directory} has a head of its own ({HEAD})", help="start from a model with tied embeddings"
            )
        del self._places[HEAD]


def _refuse_damaged(directory: Path) -> None:
    """A training checkpoint says what its bytes were. Raises ModelError when the weights are others."""
    if not (directory / CHECKPOINT_INDEX).is_file():
        return
    recorded = read_json(directory / CHECKPOINT_INDEX).get("files", {}).get(WEIGHTS_FILE, {}).get("sha256")
    if not (directory / WEIGHTS_FILE).is_file() or sha256_file(directory / WEIGHTS_FILE) != recorded:
        raise ModelError(
            f"the checkpoint {directory} is damaged: {WEIGHTS_FILE} differs from its hash",
            help="`albor verify` says more; take another checkpoint",
        )


def _weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a directory; the index of a sharded model may name only files beside it."""
    if (directory / WEIGHTS_FILE).is_file():
        return [directory / WEIGHTS_FILE]
    if (directory / INDEX_FILE).is_file():
        shards = sorted(set(read_json(directory / INDEX_FILE).get("weight_map", {}).values()))
        for shard in shards:
            if Path(shard).name != shard or not (directory / shard).is_file():
                raise ModelError(
                    f"{directory / INDEX_FILE} names {shard}, which is not there", help="download it again"
                )
        return [directory / shard for shard in shards]
    if any(directory.glob("*.bin")) or any(directory.glob("*.pt")):
        raise ModelError(
            f"{directory} holds pickled weights, which can run code when they are loaded",
            help="convert them where you trust them: save_pretrained(..., safe_serialization=True)",
        )
    raise ModelError(f"{directory} holds no {WEIGHTS_FILE}", help="give the directory of a model")


@contextmanager
def _opened(path: Path, device: str) -> Iterator[Any]:
    """A safetensors file. Raises ModelError when it, or what is read of it, is damaged."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}", help="download or export the model again") from None
