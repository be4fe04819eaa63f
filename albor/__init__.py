"""``make`` for small language models of Python code; from Python, ``albor.load(run)`` is a model to complete with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from albor.inference.loaded import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """``load``, imported when it is asked for: planning imports no torch."""
    if name == "load":
        from albor.inference.loaded import load

        return load
    raise AttributeError(f"module 'albor' has no attribute '{name}'")
