"""A completions service on this machine, for tests of what asks one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[int, dict[str, Any]], tuple[int, Any]]


class Service:
    """A completions service; ``reply`` gives the status and body of the n-th request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []


@contextmanager
def serving(reply: Reply) -> Iterator[Service]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                service.bodies.append(body)
                service.headers.append(dict(self.headers))
                service.paths.append(self.path)
                number = len(service.bodies)
            status, content = reply(number, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None: ...

    with listening(Handler) as url:
        service = Service(f"{url}/v1")
        yield service


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """A server on this machine that answers by ``handler``, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text: object, tokens: int | None = None) -> dict[str, Any]:
    return {"choices": [{"text": text}]} | ({"usage": {"completion_tokens": tokens}} if tokens is not None else {})


def says(text: object, tokens: int | None = None) -> Reply:
    return lambda number, body: (200, completion(text, tokens))
