"""A user's own config files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from albor.config.compose import Composer

HEAD = "# @package _global_\n"
Write = Callable[[dict[str, str]], Composer]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A composer over files of the user's, ``group/choice`` to text, in ``own`` of the working directory."""
    monkeypatch.chdir(tmp_path)

    def make(files: dict[str, str]) -> Composer:
        (tmp_path / "own").mkdir(exist_ok=True)
        for name, text in files.items():
            path = tmp_path / "own" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Composer(["own"])

    return make
