"""Random states of torch, Python and numpy, as JSON values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

_DEVICES: dict[str, Any] = {"cuda": torch.cuda, "mps": torch.mps}


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture(device: torch.device) -> dict[str, Any]:
    """The states of this process and of its ``device``."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "device": _DEVICES[device.type].get_rng_state().numpy().tobytes().hex() if device.type in _DEVICES else None,
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys).tolist(), *rest],
    }


def restore(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(_bytes(state["torch"]))
    if device.type in _DEVICES:  # gpu
        _DEVICES[device.type].set_rng_state(_bytes(state["device"]))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
