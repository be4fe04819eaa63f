"""A server that is asked by HTTP."""

from __future__ import annotations

import asyncio

import pytest

from albor.errors import AlborError
from albor.serve.completer import HttpCompleter
from tests.serve.infill import body_of, infill


def ask(completer: HttpCompleter) -> str:
    async def once() -> str:
        try:
            return await completer.complete("a", "b", extra=[("n.py", "t")], max_tokens=3, stop=["\n"])
        finally:
            await completer.close()

    return asyncio.run(once())


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with infill() as server:
        assert ask(HttpCompleter(server.url, model="m", key="k")) == "pass"
    (asked,) = server.asked
    assert asked.body == body_of("a", tokens=3, stop=["\n"])


def test_half_a_character_is_replaced() -> None:
    with infill() as server:
        server.says = "x\ud83d"
        assert ask(HttpCompleter(server.url)) == "x?"


def test_an_answer_that_does_not_come() -> None:
    with infill() as server:
        server.delay = 5.0
        with pytest.raises(AlborError, match="has not answered in time") as failed:
            ask(HttpCompleter(server.url, timeout=0.1))
    assert failed.value.code == "E-ENDPOINT" and failed.value.exit_code == 1


@pytest.mark.parametrize("answer", [[], "text", {"content": 5}, {}])
def test_an_answer_of_another_shape(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with infill() as server:
        monkeypatch.setattr(server, "answer", lambda body: answer)
        with pytest.raises(AlborError, match="without content"):
            ask(HttpCompleter(server.url))
        server.status = 500
        with pytest.raises(AlborError, match="answers 500: "):
            ask(HttpCompleter(server.url))
