"""A server as a process of its own, over small models."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from albor.data.chat import CHAT_TEMPLATE
from albor.models.gguf import write_gguf
from tests.command import COMMAND
from tests.models.gguf_example import example

SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                         "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 400}  # fmt: skip
JSON = {"content-type": "application/json"}


def models(place: Path) -> dict[str, Path]:
    """A base model, one that answers messages, and its GGUF file."""
    found = {name: place / name for name in ("base", "chat", "q8")}
    for directory in found.values():
        directory.mkdir(parents=True)
    example(found["base"], **SHAPE)
    shutil.copytree(found["base"], found["chat"], dirs_exist_ok=True)
    (found["chat"] / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    write_gguf(found["chat"], found["q8"] / "model.gguf", kind="q8_0")
    for file in found["chat"].iterdir():
        if file.suffix in (".json", ".jinja"):
            shutil.copy(file, found["q8"])
    return found


@dataclass
class Running:
    """A server that was started."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60, **more)

    def complete(self, **body: Any) -> dict[str, Any]:
        answer = self.post("/v1/completions", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def gauge(self, name: str, model: str = "base") -> float:
        found = re.search(rf'^{name}{{model="{model}"}} (\S+)$', self.get("/metrics").text, re.M)
        assert found, name
        return float(found[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(place: Path, *words: str, threads: int = 1, **environment: str) -> Iterator[Running]:
    """``albor stage=serve WORDS`` in a directory, on a port that is free."""
    log = place / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*COMMAND, "stage=serve", "stage.port=0", f"stage.threads={threads}", "tracking=none", *words],
            cwd=place,
            env=os.environ | environment,
            stdout=file,
            stderr=file,
            text=True,
        )
    try:
        found = until(lambda: re.search(r"at (http://\S+)/v1", log.read_text()) or process.poll() is not None)
        assert isinstance(found, re.Match), log.read_text()
        yield Running(found[1], process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What is found, as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(f"nothing within {seconds} s")
