"""A server that answers ``/infill``, for tests of what asks one. It notices when nobody waits any more."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.service import listening

PATIENCE = 15.0
"""Seconds after which what a test waits for will not come."""


@dataclass
class Asked:
    """A request."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    gone: float | None = None
    """When the asker hung up, by time.monotonic(), if it did not wait for the answer."""


@dataclass
class Infill:
    """What the server says, and what it was asked."""

    url: str
    says: object = "pass"
    """The completion, or a function that makes it of a request's body."""
    status: int = 200
    delay: float = 0.0
    """Seconds before an answer."""
    asked: list[Asked] = field(default_factory=list)

    def wait(self, requests: int) -> Asked:
        """The newest request, once there were so many."""
        until(lambda: len(self.asked) >= requests, f"{requests} requests")
        return self.asked[-1]

    def answer(self, body: dict[str, Any]) -> Any:
        if self.status == 200:
            return {"content": self.says(body) if callable(self.says) else self.says}
        return {"error": {"message": "no, thank you", "type": "invalid_request_error", "param": None, "code": None}}


@contextmanager
def infill(port: int = 0) -> Iterator[Infill]:
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.connection)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body, dict(self.headers), self.path)
            status, answer = served.status, json.dumps(served.answer(body)).encode()
            served.asked.append(asked)
            if hung_up(self.connection, served.delay):
                asked.gone = time.monotonic()
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None: ...

    try:
        with listening(Handler, port) as url:
            served = Infill(url)
            yield served
    finally:
        for connection in connections:  # kept alive, they would be answered by a server that is gone
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def body_of(prefix: str, *, tokens: int, stop: list[str]) -> dict[str, Any]:
    """What a request for the model m, with the file n.py beside it, is to say in whatever language it is made."""
    return {
        "input_prefix": prefix,
        "input_suffix": "b",
        "prompt": "",
        "input_extra": [{"filename": "n.py", "text": "t"}],
        "n_predict": tokens,
        "stop": stop,
        "temperature": 0,
        "cache_prompt": True,
        "stream": False,
        "model": "m",
    }


def hung_up(connection: socket.socket, seconds: float) -> bool:
    """Whether the other side closes within so many seconds."""
    readable, _, _ = select.select([connection], [], [], seconds)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def until(holds: Any, what: str, seconds: float = PATIENCE) -> None:
    """Returns as soon as it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)
