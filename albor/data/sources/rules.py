"""What holds for files wherever they come from."""

from __future__ import annotations

VENDORED = frozenset(
    {"_vendor", "vendor", "vendored", "_vendored", "third_party", "thirdparty", "3rdparty"}
    | {"extern", "externals", "_external", "subprojects"}
)
"""Directories of copied projects: their licence is not the project's, and one of them may be a held-out project.
Not "external", under which projects keep code of their own for what is outside of them."""
NOT_SOURCE = VENDORED | {"__pycache__", "node_modules", "venv"}
"""Directories that hold other people's or generated files, wherever they stand below a root; so does every
dot-directory, and what is named vendored-PROJECT."""
LONGEST = 4
"""Bytes of UTF-8 per character at most: what has more is too long whatever it says."""


def skip(name: str) -> bool:
    """Whether a file or directory of this name never holds source."""
    return name in NOT_SOURCE or name.startswith((".", "vendored-"))


def is_python(path: str) -> bool:
    """Whether this path, with forward slashes, is that of a Python file to be read."""
    return path.endswith(".py") and not any(map(skip, path.split("/")))
