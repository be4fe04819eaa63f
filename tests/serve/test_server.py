"""The server as a process: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.command import albor
from tests.conftest import Outcome
from tests.serve.serving import Running, serving, until

LONG = {"prompt": "def f(", "max_tokens": 390, "temperature": 1, "logprobs": 20}
"""Takes a while: what is told of each token costs most."""


def streamed(server: Running, found: list[Any], **more: Any) -> None:
    """Asks for a text in pieces and notes what comes."""
    body = {**LONG, "stream": True, **more}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
        for line in filter(None, answer.iter_lines()):
            found.append(line)  # noqa: PERF402 - somebody watches it grow


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_lets_what_is_under_way_end(directories: dict[str, Path], tmp_path: Path, number: int) -> None:
    with serving(tmp_path, f"inputs.model={directories['base']}") as server:
        pieces: list[list[str]] = [[] for _ in range(6)]
        threads = [threading.Thread(target=streamed, args=(server, found)) for found in pieces]
        for thread in threads:
            thread.start()
        until(lambda: all(pieces))
        assert server.stop(number) == 0
        for thread in threads:
            thread.join()
        for found in pieces:
            assert found[-1] == "data: [DONE]"
            assert json.loads(found[-2].removeprefix("data: "))["choices"][0]["finish_reason"] in ("stop", "length")
        with pytest.raises(httpx.TransportError):
            server.get("/health")


def test_a_key_is_asked_for(directories: dict[str, Path], tmp_path: Path) -> None:
    words = (f"inputs.model={directories['base']}", "stage.key_env=OWN_KEY", "stage.host=0.0.0.0")
    with serving(tmp_path, *words, OWN_KEY="s3cret") as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert server.get("/health").status_code == 200
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic s3cret"},
            {"authorization": ""},
        ):
            for answer in (server.get("/v1/models", headers=headers), server.get("/metrics", headers=headers)):
                assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
        right = {"authorization": "Bearer s3cret"}
        assert server.get("/v1/models", headers=right).status_code == 200
        assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}, headers=right).status_code == 200
        assert "s3cret" not in server.log.read_text()
    kept = "".join(path.read_text() for path in (tmp_path / "outputs").rglob("*.yaml"))
    assert "OWN_KEY" in kept and "s3cret" not in kept


def test_when_too_many_wait_the_others_are_told_to_come_again(directories: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, f"inputs.model={directories['base']}", "stage.slots=1", "stage.waiting=2") as server:
        answers: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.post("/v1/completions", LONG))) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = [answer.status_code for answer in answers]
        assert {*codes} == {200, 429} and codes.count(200) >= 3
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "queue_full" and int(refused.headers["retry-after"]) >= 1
        assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 1}).status_code == 200
        assert server.gauge("albor_waiting_requests", "model") == 0


def test_an_answer_may_take_only_so_long(directories: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, f"inputs.model={directories['base']}", "stage.timeout=0.02") as server:
        late = server.post("/v1/completions", {**LONG, "n": 16})  # not all of them end by chance
        assert late.status_code == 504 and late.json()["error"]["type"] == "timeout_error"
        parts: list[str] = []
        streamed(server, parts, n=16)
        assert "timeout_error" in parts[-2] and parts[-1] == "data: [DONE]"
        until(lambda: server.gauge("albor_running_requests", "model") == 0, 20)


def test_a_model_that_was_tampered_with_is_not_served(directories: dict[str, Path], tmp_path: Path) -> None:
    """One of a run is held against its hashes; one of a directory must at least be whole."""
    cut = tmp_path / "cut"
    shutil.copytree(directories["q8"], cut)
    (cut / "model.gguf").write_bytes((cut / "model.gguf").read_bytes()[:-4000])
    found = albor("stage=serve", "stage.port=0", f"inputs.model={cut}", cwd=tmp_path)
    assert found.returncode == 2 and "llama.cpp cannot load" in found.stderr and "Traceback" not in found.stderr


# --- what is refused before anything is loaded ---

Albor = Callable[..., Outcome]


def assert_refused(outcome: Outcome, *texts: str) -> None:
    assert outcome.code == 2 and "Traceback" not in outcome.text, outcome.text
    for text in texts:
        assert text in outcome.err, outcome.err


def test_a_port_in_use(albor: Albor, directories: dict[str, Path]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = albor("stage=serve", f"inputs.model={directories['base']}", f"stage.port={port}")
    assert_refused(found, "error[E-SERVE]", f"127.0.0.1:{port} cannot be listened at", "stage.port=0")


def test_others_reach_it_only_with_a_key(albor: Albor, directories: dict[str, Path]) -> None:
    given = ("stage=serve", f"inputs.model={directories['base']}")
    assert_refused(albor(*given, "stage.host=0.0.0.0"), "error[C-SERVE-001]", "no key is asked for", "stage.key_env=")
    assert_refused(albor(*given, "stage.key_env=NOT_THERE"), "NOT_THERE with the API key is not set")
    assert_refused(albor(*given, "stage.host=no.such.host.invalid", "stage.key_env=PATH"), "cannot be listened at")


def test_misspelt(albor: Albor, directories: dict[str, Path]) -> None:
    given = ("stage=serve", f"inputs.model={directories['base']}")
    assert_refused(albor(*given, "stage.prot=1"), "stage.port")
    assert_refused(albor(*given, "stage.port=70000"), "E-RANGE")
    assert_refused(albor(*given, "stage.default=bsae"), "stage.default=bsae is not served: model")
    assert_refused(albor("stage=serve", "inputs.modle=x"), "inputs.modle")
    assert_refused(albor("stage=serve", "inputs.model=nowhere"), "nowhere")
    assert_refused(albor("stage=serve", "stage.of=pretrian"), "did you mean 'pretrain'")


def test_without_its_packages_it_says_what_to_install(
    albor: Albor, directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("albor.stages.serve.find_spec", lambda name: None if name == "uvicorn" else object())
    found = albor("stage=serve", f"inputs.model={directories['base']}")
    assert_refused(found, "not installed: uvicorn", "pip install 'albor[serve]'")


def test_a_ladder_s_rungs_are_served_as_the_ladder_makes_them(albor: Albor) -> None:
    """The same runs: after ``stage=ladder`` there is nothing to build."""

    def ids(*words: str) -> set[str]:
        nodes = json.loads(albor("plan", *words, "--json").out)["nodes"]
        return {node["id"] for node in nodes}

    served, climbed = ids("stage=serve", "ladder=demo"), ids("stage=ladder", "ladder=demo")
    assert len(served) > 10 and len(served - climbed) == 1
