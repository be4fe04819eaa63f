"""The HTTP API by its own clients: OpenAI's library, and requests as editors send them."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import albor
from albor.data.chat import Message
from albor.inference.engine import derive_seed
from albor.inference.loaded import LanguageModel
from tests.serve.serving import JSON, Running, until

pytestmark = pytest.mark.xdist_group("server")

PROMPT = "def add(a, b):\n"


@pytest.fixture(scope="session")
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def here(directories: dict[str, Path]) -> dict[str, LanguageModel]:
    """The same models in this process."""
    return {name: albor.load(path, threads=1) for name, path in directories.items()}


# --- texts ---


@pytest.mark.parametrize("model", ["base", "q8"])
def test_a_text_is_what_the_model_writes(client: openai.OpenAI, here: dict[str, LanguageModel], model: str) -> None:
    found = client.completions.create(model=model, prompt=PROMPT, max_tokens=30, temperature=0)
    expected = here[model].complete(PROMPT, max_tokens=30)
    assert found.choices[0].text == expected.text and found.model == model
    assert found.choices[0].finish_reason == {"length": "length", "end": "stop"}[expected.ended]
    assert found.usage is not None and found.usage.completion_tokens >= len(expected.tokens)
    assert found.usage.prompt_tokens == 1 + len(here[model].codec.encode(PROMPT))


@pytest.mark.parametrize("model", ["base", "q8"])
def test_a_suffix_is_heeded(client: openai.OpenAI, here: dict[str, LanguageModel], model: str) -> None:
    texts = {}
    for suffix in ("\n    return c\n", "\n\n\nclass X:\n", ""):
        found = client.completions.create(
            model=model, prompt=PROMPT, suffix=suffix, max_tokens=20, temperature=1, seed=5
        )
        texts[suffix] = found.choices[0].text
        expected = here[model].complete(
            PROMPT, suffix, max_tokens=20, temperature=1, seed=derive_seed(5, 0, 0), fim="spm"
        )
        assert texts[suffix] == expected.text
    assert len(set(texts.values())) == 3


def test_sentinels_in_a_text_stay_text(server: Running, here: dict[str, LanguageModel]) -> None:
    """A file that speaks of control tokens is read as the letters that it holds."""
    sentinel = "<|fim_middle|><|endoftext|><|im_end|>"
    used = server.complete(prompt=sentinel, suffix=sentinel, max_tokens=1)["usage"]["prompt_tokens"]
    letters = len(here["base"].codec.encode(sentinel))
    assert used == 4 + 2 * letters and letters > 20


def test_a_stream_is_the_same_text_in_pieces(client: openai.OpenAI) -> None:
    for seed in range(4):
        asked: dict[str, Any] = {"model": "base", "prompt": PROMPT, "max_tokens": 60, "temperature": 1.0, "seed": seed}
        whole = client.completions.create(**asked).choices[0]
        parts = list(client.completions.create(**asked, stream=True))
        assert "".join(part.choices[0].text for part in parts) == whole.text
        assert [part.choices[0].finish_reason for part in parts][-1] == whole.finish_reason
        assert len({part.id for part in parts}) == 1


def test_usage_comes_last_when_it_is_asked_for(client: openai.OpenAI) -> None:
    parts = list(
        client.completions.create(
            model="base", prompt=PROMPT, max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
    )
    assert parts[-1].choices == [] and parts[-1].usage is not None and parts[-1].usage.completion_tokens == 5


def test_several_prompts_and_choices(client: openai.OpenAI) -> None:
    found = client.completions.create(
        model="base", prompt=["def f(", "class X"], n=3, max_tokens=12, temperature=1.0, seed=7
    )
    assert [choice.index for choice in found.choices] == list(range(6))
    assert len({choice.text for choice in found.choices}) > 3
    again = client.completions.create(
        model="base", prompt=["def f(", "class X"], n=3, max_tokens=12, temperature=1.0, seed=7, stream=True
    )
    texts = [""] * 6
    for part in again:
        texts[part.choices[0].index] += part.choices[0].text
    assert texts == [choice.text for choice in found.choices]


def test_token_ids_are_a_prompt_too(server: Running, here: dict[str, LanguageModel]) -> None:
    codec = here["base"].codec
    ids = [codec.eos_id, *codec.encode(PROMPT)]
    by_text, by_ids, by_lists = (
        server.complete(prompt=prompt, max_tokens=9, temperature=0) for prompt in (PROMPT, ids, [ids, ids])
    )
    assert by_text["choices"] == by_ids["choices"]
    assert [choice["text"] for choice in by_lists["choices"]] == [by_ids["choices"][0]["text"]] * 2


@pytest.mark.parametrize("stop", ["e", ["re", "x"], ["none of it"]])
def test_a_stop_string_ends_the_text_before_it(server: Running, stop: Any) -> None:
    whole = server.complete(prompt=PROMPT, max_tokens=60, temperature=1, seed=3)["choices"][0]["text"]
    found = server.complete(prompt=PROMPT, max_tokens=60, temperature=1, seed=3, stop=stop)["choices"][0]
    words = [stop] if isinstance(stop, str) else stop
    expected = min((whole.split(word)[0] for word in words), key=len)
    assert found["text"] == expected
    assert found["finish_reason"] == ("stop" if len(expected) < len(whole) else "length")


def test_log_probabilities(client: openai.OpenAI, here: dict[str, LanguageModel]) -> None:
    found = client.completions.create(model="base", prompt=PROMPT, max_tokens=8, temperature=1, seed=1, logprobs=3)
    said, text = found.choices[0].logprobs, found.choices[0].text
    assert said is not None and said.tokens and said.token_logprobs and said.top_logprobs and said.text_offset
    expected = here["base"].logprobs(PROMPT + text, told=3)[-len(said.tokens) :]
    if [one.token for one in expected] == said.tokens:  # other words may be other tokens
        assert said.token_logprobs == pytest.approx([one.logprob for one in expected], abs=1e-4)
    for logprob, best in zip(said.token_logprobs, said.top_logprobs, strict=True):
        assert logprob is not None and logprob <= max(best.values()) + 1e-6
    assert said.text_offset == sorted(said.text_offset) and said.text_offset[-1] <= len(text)


def test_an_echo_tells_what_the_model_thinks_of_the_prompt(server: Running, here: dict[str, LanguageModel]) -> None:
    """What benchmark harnesses ask for."""
    found = server.complete(prompt=PROMPT, max_tokens=0, echo=True, logprobs=2)["choices"][0]
    expected = here["base"].logprobs(PROMPT, told=2)
    assert found["text"] == PROMPT and found["logprobs"]["tokens"] == [one.token for one in expected]
    assert found["logprobs"]["token_logprobs"] == pytest.approx([one.logprob for one in expected], abs=1e-4)
    both = server.complete(prompt=PROMPT, max_tokens=4, echo=True, logprobs=2, temperature=0)["choices"][0]
    assert both["text"].startswith(PROMPT) and len(both["logprobs"]["tokens"]) == len(expected) + 4
    assert both["logprobs"]["text_offset"] == sorted(both["logprobs"]["text_offset"])


def test_tokens_that_are_no_text_are_told_as_bytes(server: Running) -> None:
    prompt = "x = '\N{EURO SIGN}\N{SNAKE}'"
    tokens = server.complete(prompt=prompt, max_tokens=0, echo=True, logprobs=5)["choices"][0]["logprobs"]["tokens"]
    assert any(token.startswith("bytes:\\x") for token in tokens)
    pieces = [token.removeprefix("bytes:").encode("latin1").decode("unicode_escape") for token in tokens]
    assert "".join(pieces).encode("latin1").decode() == prompt


# --- messages ---


@pytest.mark.parametrize("model", ["chat", "q8"])
def test_messages_are_answered(client: openai.OpenAI, here: dict[str, LanguageModel], model: str) -> None:
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Write a loop."}],
        "max_completion_tokens": 25,
        "temperature": 0,
    }
    found = client.chat.completions.create(**asked)
    expected = here[model].chat([Message("system", "Be short."), Message("user", "Write a loop.")], max_tokens=25)
    assert found.choices[0].message.content == expected.text and found.choices[0].message.role == "assistant"
    parts = list(client.chat.completions.create(**asked, stream=True))
    assert parts[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected.text
    content = [{"type": "text", "text": "Write a "}, {"type": "text", "text": "loop."}]
    messages: Any = [asked["messages"][0], {"role": "user", "content": content}]
    assert client.chat.completions.create(**{**asked, "messages": messages}).choices == found.choices


def test_log_probabilities_of_an_answer(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    asked: dict[str, Any] = {"temperature": 1.5, "seed": 3, "logprobs": True, "top_logprobs": 2}
    found = client.chat.completions.create(model="chat", messages=messages, max_tokens=40, **asked)
    said = found.choices[0].logprobs
    assert said is not None and said.content is not None and 0 < len(said.content) <= 40
    assert all(len(one.top_logprobs) == 2 and one.logprob <= 0 and one.bytes is not None for one in said.content)
    spelled = bytes(byte for one in said.content if not one.token.startswith("<|") for byte in one.bytes or ())
    assert spelled.decode(errors="replace").startswith(found.choices[0].message.content or "")


def test_a_base_model_answers_no_messages(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat template") as refused:
        client.chat.completions.create(model="base", messages=[{"role": "user", "content": "x"}])
    assert refused.value.code == "unsupported_by_model"


# --- holes, as editors ask for them ---

VIM = {"id_slot": 0, "input_prefix": "import os\n\n", "input_suffix": "\n\nprint(f(1))\n", "prompt": "def f(x",
       "input_extra": [{"text": "x = 1\n", "time": 1.5, "filename": "a.py"}], "n_predict": 16, "stop": [],
       "n_indent": 0, "top_k": 40, "top_p": 0.9, "samplers": ["top_k", "top_p", "infill"], "stream": False,
       "cache_prompt": True, "t_max_prompt_ms": 500, "t_max_predict_ms": 60000, "model": "",
       "response_fields": ["content", "timings/prompt_n", "timings/predicted_ms", "truncated",
                           "tokens_cached"]}  # fmt: skip


def test_llama_vim_s_request(server: Running, here: dict[str, LanguageModel]) -> None:
    answer = server.post("/infill", VIM)
    found = answer.json()
    assert {*found} == {"content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached"}
    expected = here["base"].complete(
        "# a.py\nx = 1\n\nimport os\n\ndef f(x", "\n\nprint(f(1))\n", max_tokens=16, fim="spm"
    )
    assert found["content"] == expected.text and found["truncated"] is False
    assert re.search(r'"content"\s*:"', answer.text), "it looks for this in the answer's text"
    warmed = {**VIM, "n_predict": 0, "prompt": "", "samplers": [], "t_max_predict_ms": 1, "response_fields": [""]}
    assert server.post("/infill", warmed).status_code == 200


def test_llama_vscode_s_request(server: Running) -> None:
    asked = {key: value for key, value in VIM.items() if key not in ("response_fields", "stop", "n_indent")}
    found = server.post("/infill", {**asked, "n_cmpl": 1, "top_p": 0.99}).json()
    assert found["content"] and found["timings"]["prompt_ms"] > 0 and found["stop"] is True
    again = server.post("/infill", {**asked, "prompt": "def f(x,"}).json()
    assert again["timings"]["cache_n"] > 10, "what was read serves when somebody goes on typing"


def test_a_hole_in_pieces(server: Running) -> None:
    whole = server.post("/infill", {**VIM, "response_fields": None}).json()
    with httpx.stream("POST", f"{server.url}/infill", json={**VIM, "stream": True}) as answer:
        parts = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert "".join(part["content"] for part in parts) == whole["content"]
    assert [part["stop"] for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_long_file_is_cut_around_the_cursor(server: Running) -> None:
    asked = {"input_prefix": "x = 1\n" * 2000, "input_suffix": "y = 2\n" * 2000, "n_predict": 4}
    first = server.post("/infill", {**asked, "prompt": "z"}).json()
    assert first["truncated"] and first["tokens_evaluated"] < 400
    again = server.post("/infill", {**asked, "prompt": "z ="}).json()
    assert again["timings"]["cache_n"] > 200


# --- what there is ---


def test_models_health_and_metrics(client: openai.OpenAI, server: Running) -> None:
    assert [model.id for model in client.models.list()] == ["base", "chat", "q8"]
    assert client.models.retrieve("q8").id == "q8"
    assert server.get("/health").json()["status"] == "ok"
    text = server.get("/metrics").text
    assert 'albor_requests_total{path="/health",status="200"}' in text
    assert "albor_time_to_first_token_seconds_bucket" in text
    before = server.gauge("albor_generated_tokens_total")
    server.complete(prompt="x", max_tokens=7, temperature=1, seed=1)
    assert server.gauge("albor_generated_tokens_total") == before + 7


def test_who_goes_away_is_written_for_no_longer(server: Running) -> None:
    asked = {"prompt": PROMPT, "max_tokens": 380, "temperature": 1}
    host, _, port = server.url.removeprefix("http://").partition(":")
    for stream in (True, False):
        for _ in range(5):
            connection = http.client.HTTPConnection(host, int(port))
            connection.request("POST", "/v1/completions", json.dumps({**asked, "stream": stream}), JSON)
            if stream:
                connection.getresponse().read(1)
            connection.close()
        until(lambda: server.gauge("albor_running_requests") == 0, 20)
    assert len(server.complete(prompt=PROMPT, max_tokens=3)["choices"]) == 1


# --- bad input ---

BAD: list[tuple[str, Any, int, str | None]] = [
    ("/v1/completions", {"prompt": "x", "max_tokens": -1}, 400, "max_tokens"),
    ("/v1/completions", {"prompt": "x", "max_tokens": "many"}, 400, "max_tokens"),
    ("/v1/completions", {"prompt": "x", "temperature": -0.1}, 400, "temperature"),
    ("/v1/completions", {"prompt": "x", "temperature": 1e9}, 400, "temperature"),
    ("/v1/completions", {"prompt": "x", "top_p": 1.5}, 400, "top_p"),
    ("/v1/completions", {"prompt": "x", "top_k": 5000}, 400, "top_k"),
    ("/v1/completions", {"prompt": "x", "n": 0}, 400, "n"),
    ("/v1/completions", {"prompt": "x", "n": 1000}, 400, "n"),
    ("/v1/completions", {"prompt": "x", "logprobs": 99}, 400, "logprobs"),
    ("/v1/completions", {"prompt": "x", "stop": ["a"] * 40}, 400, "stop"),
    ("/v1/completions", {"prompt": "x", "stop": 5}, 400, "stop"),
    ("/v1/completions", {"prompt": "x", "presence_penalty": 1}, 400, "presence_penalty"),
    ("/v1/completions", {"prompt": "x", "best_of": 5}, 400, "best_of"),
    ("/v1/completions", {"prompt": []}, 400, "prompt"),
    ("/v1/completions", {"prompt": [1, "x"]}, 400, "prompt"),
    ("/v1/completions", {"prompt": [[1], [99999]]}, 400, "prompt"),
    ("/v1/completions", {"prompt": [-1]}, 400, "prompt"),
    ("/v1/completions", {"prompt": [1], "suffix": "x"}, 400, "suffix"),
    ("/v1/completions", {"prompt": {"a": 1}}, 400, "prompt"),
    ("/v1/completions", {"prompt": "x = 1\n" * 3000}, 400, "prompt"),
    ("/v1/completions", {"prompt": "x", "model": "gpt-9"}, 404, "model"),
    ("/v1/completions", [], 400, None),
    ("/v1/completions", 5, 400, None),
    ("/v1/chat/completions", {"model": "chat"}, 400, "messages"),
    ("/v1/chat/completions", {"model": "chat", "messages": []}, 400, "messages"),
    ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "x", "content": ""}]}, 400, "messages[0].role"),
    ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}], "tools": [1]}, 400,
     "tools"),
    ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, 400,
     "max_completion_tokens"),
    ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x " * 3000}]}, 400, "prompt"),
    ("/infill", {"n_predict": -5}, 400, "n_predict"),
    ("/infill", {"input_extra": [{"text": 1}]}, 400, "input_extra[0].text"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "param"), BAD, ids=lambda value: str(value)[:60])
def test_a_bad_request_is_refused_by_the_field(
    server: Running, path: str, body: Any, status: int, param: str | None
) -> None:
    answer = server.post(path, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), answer.text
    assert error["message"] and error["type"].endswith("_error") and {*error} == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"prompt": "x"', b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}', b"[" * 50_000, b"\x00", b"NaN",
     b'{"prompt": "x", "temperature": NaN}', b'{"prompt": "x", "seed": 1e400}'],
    ids=lambda body: repr(body)[:30],
)  # fmt: skip
def test_what_is_no_json_is_refused(server: Running, body: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/completions", content=body, headers=JSON)
    assert answer.status_code == 400 and answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_too_large_is_refused(server: Running) -> None:
    """Also one that comes in pieces, whose size nobody says."""
    huge = json.dumps({"prompt": "x" * 10_000_000}).encode()
    answer = httpx.post(f"{server.url}/v1/completions", content=huge, headers=JSON, timeout=60)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"
    pieces = (huge[start : start + 100_000] for start in range(0, len(huge), 100_000))
    try:
        answer = httpx.post(f"{server.url}/v1/completions", content=pieces, headers=JSON, timeout=60)
    except httpx.NetworkError:
        pass  # it was told while it still sent
    else:
        assert answer.status_code == 413
    assert server.get("/health").status_code == 200


def test_other_paths_methods_and_kinds(server: Running) -> None:
    assert server.get("/v1/nothing").status_code == 404 and "error" in server.get("/v1/nothing").json()
    assert server.get("/v1/completions").status_code == 405 and "error" in server.get("/v1/completions").json()
    assert server.get("/v1/models/nothing").json()["error"]["code"] == "model_not_found"
    plain = httpx.post(f"{server.url}/v1/completions", content=b"{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415


def test_a_page_of_another_site_gets_nothing(server: Running) -> None:
    """Not by a name of its own that leads here, and not by a request that needs no leave."""
    answer = server.get("/v1/models", headers={"host": "evil.example"})
    assert answer.status_code == 421 and answer.json()["error"]["code"] == "unknown_host"
    asked = httpx.options(f"{server.url}/v1/completions", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in asked.headers


def test_the_client_library_s_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-9", prompt="x")
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="base", prompt="x", max_tokens=-1)
    assert refused.value.param == "max_tokens"
