"""Machines that are not like this one."""

from __future__ import annotations

import io

import pytest


@pytest.fixture
def other_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose own encoding is not UTF-8: text is written and read as UTF-8 all the same."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, stacklevel=2: encoding or "utf-16")
