"""Messages that no honest program sends to its judge."""

from __future__ import annotations

import collections
import io
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.evals.sandbox.inside.wire import HEAD, MOST, Closed, Peer


class Listener(Exception):
    """A class that both sides may know; no value all the same."""


class Calls:
    def __init__(self, *function_and_arguments: Any) -> None:
        self.parts = function_and_arguments

    def __reduce__(self) -> Any:
        return self.parts[0], self.parts[1:]


class References(pickle.Pickler):
    """Writes a one-item list as a reference to what it holds."""

    def persistent_id(self, obj: Any) -> Any:
        return obj[0] if type(obj) is list else None


def forged(message: Any) -> bytes:
    file = io.BytesIO()
    References(file, protocol=5).dump(message)
    return file.getvalue()


def answered(data: bytes, *, size: int | None = None) -> Any:
    """What a judge makes of the bytes of an answer after which nothing comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(HEAD.pack(len(data) if size is None else size) + data)
        theirs.shutdown(socket.SHUT_WR)
        return Peer(ours, trusting=False).ask("load", "", frozenset())


@pytest.mark.parametrize(
    "payload",
    [Calls(eval, "open('hit', 'w')"), Calls(getattr, "", "join"), Path("/"), Listener("x"), collections.UserDict()],
    ids=lambda payload: type(payload).__name__,
)
def test_no_constructor_that_is_not_listed_is_called(payload: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="does not cross"):
        answered(forged(("value", payload)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "reference",
    [("module", "tests.evals.no_module_of_python"), ("theirs", 1), ("mine", "1"), ("yours", 1.0), "mine", ()],
    ids=repr,
)
def test_a_reference_of_no_known_form_is_refused(reference: Any) -> None:
    with pytest.raises(pickle.UnpicklingError):
        answered(forged(("value", [reference])))


def test_a_reference_to_what_was_never_given_is_refused() -> None:
    with pytest.raises(IndexError):
        answered(forged(("value", [("yours", 3)])))


@given(data=st.binary(max_size=60))
@settings(deadline=None)
def test_noise_is_an_error_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017
        answered(data)


@given(cut=st.integers(0, 10**6), value=st.lists(st.text()))
@settings(deadline=None, max_examples=50)
def test_a_message_that_breaks_off_is_a_program_that_is_gone(cut: int, value: Any) -> None:
    data = pickle.dumps(("value", value))
    with pytest.raises(Closed):
        answered(data[: cut % len(data)], size=len(data))


def test_nobody_listens_to_a_message_without_end() -> None:
    with pytest.raises(Closed):
        answered(b"", size=MOST + 1)
