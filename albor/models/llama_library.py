"""llama.cpp's shared library, as the wheel of xllamacpp brings it."""

from __future__ import annotations

import ctypes
from functools import cache

from albor.models.errors import ModelError


def installing(package: str) -> ModelError:
    """What to say where a package of the extra is not installed."""
    return ModelError(f"the package {package} is not installed", help="pip install 'albor[gguf]'")


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once. Calls into it let other Python threads run. Raises ModelError."""
    try:
        from xllamacpp import xllamacpp
    except ImportError:
        raise installing("xllamacpp") from None
    return ctypes.CDLL(xllamacpp.__file__)
