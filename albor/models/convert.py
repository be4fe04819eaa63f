"""Checkpoints of the original system, whose matrices lie as [in, out] (``x @ W``), in the standard layout [out, in].

Names are those of Llama. The embedding is [vocab, hidden] in both. Which layout a file has, its oblong matrices say:
keys and values where there are fewer heads of them, and the feed-forward ones. Where all are square nothing does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.checkpoint import EMBEDDING, HEAD, WEIGHTS_FILE, weight_files
from albor.models.companions import copy_companions
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.export import finite
from albor.models.llama_config import CONFIG_FILE, config_text, read_config, read_json
from albor.models.tensor_stream import StoredTensor, stored_tensors, write_tensors
from albor.runs.files import fsync_directory, write_text

Layout = Literal["in_out", "out_in"]


def convert(
    source: Path,
    out: Path,
    *,
    shape: Model | None = None,
    layout: Layout | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Layout, int]:
    """Writes the model of ``source`` as one of ours, whole or not at all; returns the layout that it had, and how many
    tensors there are.

    ``shape`` is the model's, or else what config.json says; ``layout`` is asked for only where every matrix is square.
    Weights keep their dtype. Raises ModelError.
    """
    refuse_taken(out)
    model = shape or described(source)
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in Decoder(model).state_dict().items()}
    stored = tensors_of(source, wanted)
    found = layout_of(stored, wanted, layout)
    turned = {name: found == "in_out" and len(shape) == 2 and name != EMBEDDING for name, shape in wanted.items()}
    refuse_other_head(stored, model)
    done = iter(range(len(wanted)))

    def make(name: str) -> Tensor:
        progress(next(done), len(wanted))
        tensor = finite(name, stored[name].read())
        return tensor.T if turned[name] else tensor

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as place:
        directory = Path(place) / "model"
        directory.mkdir()
        kept = {name: (stored[name].dtype, shape) for name, shape in wanted.items()}
        write_tensors(directory / WEIGHTS_FILE, kept, make)
        widest = max((dtype for dtype, _ in kept.values()), key=lambda dtype: dtype.itemsize)
        known = read_json(source / CONFIG_FILE) if (source / CONFIG_FILE).is_file() else {}
        ids = {key: known.get(key) for key in ("eos_token_id", "pad_token_id")}
        write_text(directory / CONFIG_FILE, config_text(model, dtype=widest, **ids))
        copy_companions(source, directory)
        if out.is_dir():
            out.rmdir()
        directory.rename(out)
    fsync_directory(out.parent)
    progress(len(wanted), len(wanted))
    return found, len(wanted)


def described(source: Path) -> Model:
    """The shape by config.json. Raises ModelError, which says how to do without."""
    try:
        return read_config(source)
    except ModelError as error:
        raise ModelError(error.cause, help="say the model's shape, model=350m; or give another directory") from None


def refuse_taken(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ModelError(f"{out} is there already", help="give a directory that is not there yet")


def tensors_of(source: Path, wanted: Mapping[str, torch.Size]) -> dict[str, StoredTensor]:
    """Where each tensor of the model is, and its head if it is stored. Raises ModelError when it is another model's."""
    found: dict[str, StoredTensor] = {}
    for path in weight_files(source):
        found |= stored_tensors(path)
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys() - {HEAD})
    if missing:
        raise ModelError(
            f"{source} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]}",
            help="the file was cut off, or the shape is another model's: model=CHOICE says which",
        )
    if unknown:
        raise ModelError(
            f"{source} has {len(unknown)} tensors that the model has not, the first is {unknown[0]}",
            help="only Llama's layout without biases is converted; model=CHOICE says another shape",
        )
    return found


def layout_of(stored: Mapping[str, StoredTensor], wanted: Mapping[str, torch.Size], said: Layout | None) -> Layout:
    """What the oblong matrices say, or ``said`` where all are square. Raises ModelError when they contradict."""
    seen: dict[Layout, str] = {}
    for name, shape in wanted.items():
        lies = stored[name].shape
        if len(shape) != 2 or name == EMBEDDING or shape[0] == shape[1]:
            if lies != shape:
                raise other_shape(stored[name], shape)
        elif lies == shape:
            seen.setdefault("out_in", name)
        elif lies == shape[::-1]:
            seen.setdefault("in_out", name)
        else:
            raise other_shape(stored[name], shape)
    if len(seen) == 2:
        raise ModelError(
            f"the layouts are mixed: {seen['in_out']} is [in, out], {seen['out_in']} is [out, in]",
            help="convert the checkpoint as it was written, before anything else has changed it",
        )
    if not seen and said is None:
        raise ModelError(
            "every matrix is square: its shape does not tell how it lies", help="--layout in_out, or out_in"
        )
    found = next(iter(seen), said)
    assert found is not None
    if said not in (None, found):
        raise ModelError(f"{seen[found]} lies as {found}, not as {said}", help="leave --layout out")
    return found


def other_shape(stored: StoredTensor, shape: torch.Size) -> ModelError:
    return ModelError(
        f"{stored.path}: {stored.name} is {list(stored.shape)}, the model makes it {list(shape)}",
        help="config.json and the weights belong to different models; model=CHOICE says another shape",
    )


def refuse_other_head(stored: Mapping[str, StoredTensor], model: Model) -> None:
    """Raises ModelError when a head is stored that is not the embedding, however it lies."""
    if HEAD not in stored:
        return
    head, embedding = stored[HEAD].read(), stored[EMBEDDING].read()
    if not any(lies.shape == embedding.shape and torch.equal(lies, embedding) for lies in (head, head.T)):
        raise ModelError(f"the model has a head of its own ({HEAD})", help="only tied embeddings are converted")
