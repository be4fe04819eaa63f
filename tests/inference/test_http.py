"""A completions service as the model: what it is sent, and what becomes of its answers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from albor.errors import AlborError
from albor.inference.engine import Sampling
from albor.inference.http import HttpWriter
from albor.inference.prompts import TextRequest
from albor.inference.text import Answer
from tests.service import Service, completion, says, serving

SAMPLED = Sampling(temperature=0.8, top_p=0.9)


def ask(service: Service, *requests: TextRequest, **more: Any) -> list[Answer]:
    found = dict(HttpWriter(service.url, model="m", **more).write([replace(r, sampling=SAMPLED) for r in requests]))
    return [found[index] for index in range(len(requests))]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries, which are not made."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def refusal(service: Service, *requests: TextRequest) -> AlborError:
    with pytest.raises(AlborError) as refused:
        ask(service, *requests or (TextRequest(prompt="x"),))
    assert refused.value.code == "E-ENDPOINT" and refused.value.exit_code == 1
    return refused.value


def test_a_request_says_everything_and_its_answer_is_text_and_usage() -> None:
    with serving(says("    return x\n", 7)) as service:
        request = TextRequest(prompt="def f(x):\n", seed=5, max_new_tokens=9, stop=("\ndef", "\nclass"))
        assert ask(service, request) == [Answer("    return x\n", 7)]
    assert service.bodies == [
        {"model": "m", "prompt": "def f(x):\n", "max_tokens": 9, "temperature": 0.8, "top_p": 0.9, "seed": 5,
         "stop": ["\ndef", "\nclass"]}
    ]  # fmt: skip
    assert service.paths == ["/v1/completions"] and "Authorization" not in service.headers[0]


def test_a_hole_is_sent_with_its_suffix_even_an_empty_one() -> None:
    with serving(says("y")) as service:
        found = ask(service, TextRequest(prompt="a", suffix="b"), TextRequest(prompt="a", suffix=""))
        assert found == [Answer("y", None)] * 2
    assert sorted(body["suffix"] for body in service.bodies) == ["", "b"]
    assert "stop" not in service.bodies[0]


def test_lengths_and_seeds_stay_within_what_services_take() -> None:
    with serving(says("y")) as service:
        ask(service, TextRequest(prompt="a", max_length=99, seed=(1 << 64) - 1), at_once=1)
        ask(service, TextRequest(prompt="a"), at_once=1)
        ask(service, TextRequest(prompt="a", max_length=99, max_new_tokens=9), at_once=1)
        ask(service, TextRequest(prompt="a", max_length=99, max_new_tokens=200), at_once=1)
    assert [body["max_tokens"] for body in service.bodies] == [99, 512, 9, 99]
    assert 0 <= service.bodies[0]["seed"] < 1 << 31


def test_an_answer_is_cut_at_every_stop_string_not_only_those_that_are_sent() -> None:
    stop = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif")
    with serving(says("    return 1\nprint(f())\nclass X")) as service:
        assert ask(service, TextRequest(prompt="x", stop=stop))[0].text == "    return 1"
    assert service.bodies[0]["stop"] == list(stop[:4])


def test_answers_belong_to_their_requests_in_whatever_order_they_come() -> None:
    def reply(number: int, body: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(0.02 * (number % 3))
        return 200, completion(body["prompt"] * 2, number)

    with serving(reply) as service:
        found = ask(service, *(TextRequest(prompt=str(i)) for i in range(20)), at_once=6)
    assert [answer.text for answer in found] == [str(i) * 2 for i in range(20)]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_KEY", "a-word")
    with serving(says("y")) as service:
        ask(service, TextRequest(prompt="x"), key_env="OWN_KEY")
    assert service.headers[0]["Authorization"] == "Bearer a-word"


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_set_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("OWN_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OWN_KEY", value)
    with pytest.raises(AlborError, match="OWN_KEY") as refused:
        HttpWriter("http://127.0.0.1:9", model="m", key_env="OWN_KEY")
    assert refused.value.code == "E-ENDPOINT"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(slept: list[float], status: int) -> None:
    with serving(lambda number, body: (status, b"busy") if number < 3 else (200, completion("y"))) as service:
        assert ask(service, TextRequest(prompt="x"))[0].text == "y"
    assert len(service.bodies) == 3 and service.bodies[0] == service.bodies[2]
    assert slept == sorted(slept) and len(slept) == 2 and slept[0] > 0


def test_a_service_that_stays_busy_is_given_up(slept: list[float]) -> None:
    with serving(lambda number, body: (429, b"slow down, please")) as service:
        assert "429: slow down, please" in refusal(service).cause
    assert 3 <= len(service.bodies) == len(slept) + 1


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_told_in_the_services_words_and_not_repeated(slept: list[float], status: int) -> None:
    with serving(lambda number, body: (status, {"error": "model m does not take suffixes"})) as service:
        assert "model m does not take suffixes" in refusal(service).cause
    assert len(service.bodies) == 1 and slept == []


def test_no_service_at_all(slept: list[float]) -> None:
    with serving(says("y")) as service:
        pass
    error = refusal(service)
    assert service.url in error.cause and "eval.endpoint" in str(error.help) and slept


@pytest.mark.parametrize(
    "content",
    [{}, {"choices": []}, {"choices": [{"message": {"content": "y"}}]}, completion(None), completion(3), [], b"<html>"],
    ids=str,
)
def test_an_answer_without_text_is_refused(content: Any) -> None:
    with serving(lambda number, body: (200, content)) as service:
        assert "choices[0].text" in refusal(service).cause


def test_half_a_character_does_not_spoil_a_file() -> None:
    with serving(says("a\ud800b")) as service:
        (answer,) = ask(service, TextRequest(prompt="x"))
    assert answer.text.encode() and answer.text[0] + answer.text[-1] == "ab"


@pytest.mark.parametrize("at_once", [1, 8])
def test_what_was_answered_beside_a_refusal_is_not_lost(at_once: int) -> None:
    def reply(number: int, body: dict[str, Any]) -> tuple[int, Any]:
        if number == 4:
            return 400, b"no more"
        time.sleep(0.02)
        return 200, completion("y")

    with serving(reply) as service:
        writer = HttpWriter(service.url, model="m", at_once=at_once)
        found = []
        with pytest.raises(AlborError, match="no more"):
            for index, _ in writer.write([TextRequest(prompt=str(i)) for i in range(50)]):
                found.append(index)
    assert len(found) == len({*found}) == len(service.bodies) - 1
    assert len(service.bodies) < 30, "the others are not asked for"
