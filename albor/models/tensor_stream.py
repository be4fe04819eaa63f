"""safetensors files one tensor at a time: a model larger than memory can be read, changed and written.

safetensors' own ``save_file`` wants all tensors at once. The format: the header's length (8 bytes, little-endian), the
header (JSON: dtype, shape and place of each tensor), the tensors' bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from albor.models.errors import ModelError
from albor.runs.files import atomic_path

METADATA = {"format": "pt"}
"""transformers reads only files that say so."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""By the format's names."""
ALIGNMENT = 8
"""The tensors begin at a multiple of so many bytes, as the format's own writer has it."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, unread."""

    path: Path
    name: str
    shape: torch.Size
    kind: str
    """Its dtype by the format's name."""

    @property
    def dtype(self) -> torch.dtype:
        """Raises ModelError when it is no floating-point type of torch's."""
        if self.kind not in DTYPES:
            raise ModelError(
                f"{self.path}: {self.name} is stored as {self.kind}",
                help=f"give a model whose weights are one of {', '.join(DTYPES)}",
            )
        return DTYPES[self.kind]

    def read(self, device: str = "cpu") -> Tensor:
        """The tensor as stored; on a CPU a view of the file, so it must not be written to. Raises ModelError."""
        try:
            # A file of its own for each tensor: what it maps is given back with the tensor.
            with safe_open(self.path, framework="pt", device=device) as file:
                tensor: Tensor = file.get_tensor(self.name)
        except (SafetensorError, OSError) as error:
            raise unreadable(self.path, error) from None
        return tensor


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """What a file holds, by name. Raises ModelError when it is damaged."""
    found = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                part = file.get_slice(name)
                found[name] = StoredTensor(path, name, torch.Size(part.get_shape()), part.get_dtype())
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from None
    return found


def write_tensors(
    path: Path, layout: Mapping[str, tuple[torch.dtype, torch.Size]], make: Callable[[str], Tensor]
) -> None:
    """A file of the tensors of ``layout``, written atomically; ``make`` is asked for each once, by name.

    It is asked in an order in which each tensor is aligned to its dtype, not in the layout's.
    """
    names = sorted(layout, key=lambda name: -layout[name][0].itemsize)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_header({name: layout[name] for name in names}))
        for name in names:
            dtype, shape = layout[name]
            tensor = make(name)
            assert (tensor.dtype, tensor.shape) == (dtype, shape), f"{name} is not what the header says"
            file.write(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} cannot be read: {error}", help="download or export the model again")


def _header(layout: Mapping[str, tuple[torch.dtype, torch.Size]]) -> bytes:
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    content: dict[str, object] = {"__metadata__": METADATA}
    end = 0
    for name, (dtype, shape) in layout.items():
        begin, end = end, end + shape.numel() * dtype.itemsize
        content[name] = {"dtype": kinds[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
