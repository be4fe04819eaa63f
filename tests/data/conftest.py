"""A small tokenizer and a small tree of packages, shared by the room's tests."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings

from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe

# A busy machine is no defect.
settings.register_profile("room", deadline=None)
settings.load_profile("room")


@pytest.fixture(scope="session")
def codec() -> Codec:
    """Trained on two modules of the standard library."""
    texts = [inspect.getsource(module) for module in (json, textwrap)]
    return Codec(train_bpe(texts, vocab_size=400), fim=(PREFIX, SUFFIX, MIDDLE))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twelve packages of three files each, all different and all fit to keep."""
    root = tmp_path / "tree"
    for package in range(12):
        for module in range(3):
            file = root / f"package{package:02}" / f"module{module}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            body = "".join(f"    total = total * {package} + {line}\n" for line in range(20 + package * module))
            file.write_text(f"def compute_{package}_{module}(total):\n{body}    return total\n", encoding="utf-8")
    return root
