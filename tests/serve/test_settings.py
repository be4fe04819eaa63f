"""What an editor sets, and what of that means nothing."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.serve.settings import OPTIONS, Settings

PAGE = Path(__file__).parents[2] / "docs/editors.md"


def test_every_field_is_an_option_and_is_explained() -> None:
    assert [field for field, _, _ in OPTIONS.values()] == [f.name for f in fields(Settings)]
    assert set(re.findall(r"^\| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.M)) >= OPTIONS.keys()


def test_options_are_taken() -> None:
    options = {"url": "https://host", "maxTokens": 1, "debounceMs": 0, "multiline": False, "model": None}
    assert Settings(model="m").changed_by(options) == (
        Settings(url="https://host", max_tokens=1, debounce_ms=0, multiline=False, model="m"),
        [],
    )
    assert Settings().changed_by(None) == (Settings(), [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maxToken": 5}, ["there is no option 'maxToken': did you mean maxTokens?"]),
        ({"quux": 5}, ["there is no option 'quux': there are url, model"]),
        ({"maxTokens": "5", "multiline": 1}, ["maxTokens is a whole number, not '5'", "multiline is true or false"]),
        ({"maxTokens": 0, "debounceMs": -1}, ["maxTokens is 1 or more, not 0", "debounceMs is 0 or more, not -1"]),
        ({"maxTokens": True}, ["maxTokens is a whole number, not True"]),
        (["url"], ["initializationOptions is no table"]),
    ],
)
def test_what_means_nothing_is_said_and_left(options: object, said: list[str]) -> None:
    settings, wrong = Settings().changed_by(options)
    assert settings == Settings() and len(wrong) == len(said)
    assert all(words in sentence for words, sentence in zip(said, wrong, strict=True))


@pytest.mark.parametrize("url", ["host", "host:8000", "ftp://host", "http://", "http://[::1", ""])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(AlborError, match="is no address of a server"):
        Settings(url=url).completer()


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    with pytest.raises(AlborError, match="OUR_KEY"):
        Settings(key_env="OUR_KEY").completer()
