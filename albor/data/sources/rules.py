"""What holds for files wherever they come from."""

from __future__ import annotations

NOT_SOURCE = frozenset({"__pycache__", "node_modules", "venv"})
"""Directories that hold other people's or generated files, wherever they stand; so does every dot-directory."""
LONGEST = 4
"""Bytes of UTF-8 per character at most: what has more is too long whatever it says."""


def skip(name: str) -> bool:
    """Whether a file or directory of this name never holds source."""
    return name in NOT_SOURCE or name.startswith(".")


def is_python(path: str) -> bool:
    """Whether this path, with forward slashes, is that of a Python file to be read."""
    return path.endswith(".py") and not any(map(skip, path.split("/")))
