"""The engine for what lies in a directory: weights run by torch, a GGUF file that lies there alone by llama.cpp."""

from __future__ import annotations

from pathlib import Path

from albor.inference.device import best_device
from albor.inference.engine import Engine


def open_engine(
    directory: Path, *, batch_size: int | None = None, device: str | None = None, threads: int | None = None
) -> Engine:
    """On ``device``, or the best one; a GGUF file on the CPU. ``threads`` of a CPU, for torch those of the process.

    Raises AlborError when there is no model, or what would compute it is not installed.
    """
    if holds_gguf(directory):
        from albor.inference.gguf_engine import GgufEngine

        return GgufEngine.load(directory, batch_size=batch_size, threads=threads)
    from albor.inference.torch_engine import TorchEngine

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return TorchEngine.load(directory, device=device or best_device(), batch_size=batch_size)


def computed_by(directory: Path) -> str:
    """What runs the model of a directory, and on what."""
    return "llama.cpp, cpu" if holds_gguf(directory) else f"torch, {best_device()}"


def holds_gguf(directory: Path) -> bool:
    """Whether a model is a GGUF file; an export has such files beside its weights."""
    return any(directory.glob("*.gguf")) and not any(directory.glob("*.safetensors"))
