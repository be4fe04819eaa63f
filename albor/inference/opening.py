"""The engine for what lies in a directory: a GGUF file runs by llama.cpp, anything else by torch."""

from __future__ import annotations

from pathlib import Path

from albor.inference.device import best_device
from albor.inference.engine import Engine


def open_engine(directory: Path, *, batch_size: int | None = None) -> Engine:
    """Raises AlborError when there is no model, or what would compute it is not installed."""
    if any(directory.glob("*.gguf")):
        from albor.inference.gguf_engine import GgufEngine

        return GgufEngine.load(directory, batch_size=batch_size)
    from albor.inference.torch_engine import TorchEngine

    return TorchEngine.load(directory, device=best_device(), batch_size=batch_size)


def computed_by(directory: Path) -> str:
    """What runs the model of a directory, and on what."""
    return "llama.cpp, cpu" if any(directory.glob("*.gguf")) else f"torch, {best_device()}"
