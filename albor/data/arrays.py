"""Arrays to files through Python's own writes: numpy's hide why a disk refuses ("6 requested and 4 written")."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def append(file: BinaryIO, array: NDArray[Any]) -> None:
    """The array's elements as they lie in memory. Raises OSError."""
    file.write(np.ascontiguousarray(array).data)


def save(path: Path, array: NDArray[Any]) -> None:
    """As ``numpy.save``. Raises OSError."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
