"""A tokenizer of one's own, from a file or a name, as a run's artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albor.config.schema.tokenizer import HfTokenizer
from albor.data import tokenizer
from albor.data.errors import DataError
from albor.data.tokenizer import Codec


def test_a_tokenizer_of_ones_own_becomes_an_artifact(codec: Codec, albor: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    codec.save(tmp_path / "own")
    size = f"tokenizer.vocab_size={codec.vocab_size}"
    done = albor("stage=tokenizer", "tokenizer=hf", "tokenizer.name=own", "tokenizer.path=own", size, "tracking=none")
    assert done.code == 0, done.text
    (made,) = (tmp_path / "outputs/tokenizer").glob("own-*/artifact/tokenizer.json")
    own = json.loads((tmp_path / "own/tokenizer.json").read_text())
    assert json.loads(made.read_text())["model"] == own["model"]


def test_what_is_neither_here_nor_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Unreachable:
        @staticmethod
        def from_pretrained(name: str) -> None:
            raise Exception(f"no {name}\nand a page of advice")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokenizer, "Tokenizer", Unreachable)
    with pytest.raises(DataError, match=r"org/name is neither here nor on the Hugging Face Hub: no org/name$"):
        Codec.hf(HfTokenizer(name="t", path="org/name", vocab_size=280))
    for path in ("./gone.json", "gone", "/no/such/place", "a/b/c"):
        with pytest.raises(DataError, match="does not exist") as refused:
            Codec.hf(HfTokenizer(name="t", path=path, vocab_size=280))
        assert "org/name" in str(refused.value.help)
