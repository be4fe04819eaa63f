"""The safetensors format: eight bytes of header length (little-endian), a JSON header, the tensors' raw bytes.

Written here rather than by the library, so that a file's bytes lie in one host buffer that is filled by the device,
hashed and written without another copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ALIGNMENT = 64
"""The data begin at a multiple of this, and large tensors come first: views of a file are as aligned as copies."""


@dataclass(frozen=True)
class Layout:
    """Where tensors lie in a file."""

    header: bytes
    """Everything before the data."""
    places: Mapping[str, tuple[int, int]]
    """Name to the first and the last byte + 1, counted from the beginning of the data."""
    size: int
    """Bytes of data."""


def lay_out(tensors: Mapping[str, Tensor]) -> Layout:
    """The file that holds ``tensors``, with the metadata that transformers asks for."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), -tensors[name].nbytes, name))
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    places, end = {}, 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        places[name] = (begin, end)
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return Layout(len(text).to_bytes(8, "little") + text, places, end)


def copy_into(buffer: Tensor, layout: Layout, tensors: Mapping[str, Tensor]) -> None:
    """Copies the tensors to their places in ``buffer`` (uint8 [layout.size]); from a GPU without waiting for it."""
    for name, (begin, end) in layout.places.items():
        source = tensors[name].detach()
        if source.numel():  # an empty view need not be aligned
            buffer[begin:end].view(source.dtype).view(source.shape).copy_(source, non_blocking=source.is_cuda)


def views(content: Tensor) -> dict[str, Tensor]:
    """The tensors of a file's bytes ``content`` (uint8), which they share. Raises ValueError or KeyError when it is no
    such file."""
    length = int.from_bytes(content[:8].numpy().tobytes(), "little")
    entries = json.loads(content[8 : 8 + length].numpy().tobytes())
    entries.pop("__metadata__", None)
    data = content[8 + length :]
    found = {}
    for name, entry in entries.items():
        dtype, (begin, end) = DTYPES[entry["dtype"]], entry["data_offsets"]
        flat = data[begin:end].view(dtype) if end > begin else torch.empty(0, dtype=dtype)
        found[name] = flat.view(entry["shape"])
    return found
