"""Model directories: ``model.safetensors`` and ``config.json``, the form that transformers' LlamaForCausalLM loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.llama_config import CONFIG_FILE, config_text, read_config, read_json, with_dtype
from albor.models.tensor_stream import METADATA, StoredTensor, stored_tensors, write_tensors
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


def stream_model(
    like: Path, layout: Mapping[str, tuple[torch.dtype, torch.Size]], make: Callable[[str], Tensor], directory: Path
) -> None:
    """Writes a model of the tensors of ``layout``, which ``make`` gives one by one, and of ``like``'s config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    write_tensors(directory / WEIGHTS_FILE, layout, make)
    widest = max((dtype for dtype, _ in layout.values()), key=lambda dtype: dtype.itemsize)
    write_text(directory / CONFIG_FILE, with_dtype(like, widest))


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file, written atomically."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=METADATA)


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
    stored = stored_weights(directory, config)
    return {name: tensor.read(device).to(torch.float32) for name, tensor in stored.items()}


def stored_weights(directory: Path, config: Model) -> dict[str, StoredTensor]:
    """Where each tensor of a directory is, checked against ``config`` by name and shape. Raises ModelError."""
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in Decoder(config).state_dict().items()}
    _refuse_damaged(directory)
    found: dict[str, StoredTensor] = {}
    for path in weight_files(directory):
        found.update(_known(path, wanted))
    head, embedding = found.pop(HEAD, None), found.get(EMBEDDING)
    if head is not None and (embedding is None or not torch.equal(head.read(), embedding.read())):
        raise ModelError(f"{directory} has a head of its own ({HEAD})", help="start from a model with tied embeddings")
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise ModelError(
            f"{directory} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]}",
            help="a download or an export was cut off: make the directory again",
        )
    return {name: found[name] for name in wanted}


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


def weight_files(directory: Path) -> list[Path]:
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


def _known(path: Path, wanted: Mapping[str, torch.Size]) -> dict[str, StoredTensor]:
    """A file's tensors. Frequencies that old exports stored are recomputed, so they are passed over."""
    tensors = {name: t for name, t in stored_tensors(path).items() if not name.endswith("rotary_emb.inv_freq")}
    for name, tensor in tensors.items():
        expected = wanted.get(EMBEDDING if name == HEAD else name)
        if expected is None:
            raise ModelError(f"{path} has an unknown tensor {name}", help="start from a Llama-layout model")
        if tensor.shape != expected:
            raise ModelError(
                f"{path}: {name} is {list(tensor.shape)}, its config.json makes it {list(expected)}",
                help="config.json and the weights belong to different models",
            )
    return tensors
