"""A language server as an editor has it: a process of its own, and messages to and from it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.serve.infill import PATIENCE

URI = "file:///home/me/project/a.py"
INVOKED, AUTOMATIC = 1, 2


class Editor:
    """The client's side. Every message of the server's is kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._last, self._version = process, 0, 1
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self.capabilities: dict[str, Any] = {}
        """The server's."""
        self.said: queue.Queue[str] = queue.Queue()
        """The texts of window/showMessage."""
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, method: str, params: Any) -> int:
        """Sends a request; its number."""
        self._last += 1
        self._answers[self._last] = queue.Queue()
        self._send({"id": self._last, "method": method, "params": params})
        return self._last

    def tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def answer(self, number: int) -> Any:
        """The result of a request, or its error."""
        message = self._answers[number].get(timeout=PATIENCE)
        return message["error"] if "error" in message else message["result"]

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})

    def type(self, text: str, line: int, character: int, *, over: int = 0, uri: str = URI) -> None:
        """Puts text where so many units were."""
        self._version += 1
        span = {"start": at(line, character), "end": at(line, character + over)}
        change = {"range": span, "text": text}
        document = {"uri": uri, "version": self._version}
        self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})

    def inline(self, line: int, character: int, *, trigger: int = INVOKED, uri: str = URI) -> int:
        asked = {"textDocument": {"uri": uri}, "position": at(line, character), "context": {"triggerKind": trigger}}
        return self.ask("textDocument/inlineCompletion", asked)

    def menu(self, line: int, character: int, *, uri: str = URI) -> int:
        asked = {"textDocument": {"uri": uri}, "position": at(line, character), "context": {"triggerKind": INVOKED}}
        return self.ask("textDocument/completion", asked)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _listen(self) -> None:
        out = self._process.stdout
        assert out
        while header := out.readline():
            size = int(header.split(b":")[1])
            while out.readline().strip():
                pass
            message = json.loads(out.read(size))
            if message.get("method") == "window/showMessage":
                self.said.put(message["params"]["message"])
            elif "id" in message:
                self._answers[message["id"]].put(message)


def at(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


@contextmanager
def editing(
    url: str,
    *words: str,
    options: Any = None,
    encodings: tuple[str, ...] = (),
    client: str = "test",
    root: str | None = None,
) -> Iterator[Editor]:
    """An editor with ``albor lsp`` started and greeted; the server must end well."""
    command = [sys.executable, "-m", "albor", "lsp", "--url", url, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            editor = Editor(process)
            general = {"positionEncodings": encodings} if encodings else {}
            greeting = {
                "processId": None,
                "rootUri": root,
                "clientInfo": {"name": client},
                "capabilities": {"general": general},
                "initializationOptions": options,
            }
            editor.capabilities = editor.answer(editor.ask("initialize", greeting))["capabilities"]
            editor.tell("initialized", {})
            yield editor
            assert editor.answer(editor.ask("shutdown", None)) is None
            editor.tell("exit", None)
            assert process.wait(PATIENCE) == 0
            assert process.stderr and "Traceback" not in process.stderr.read().decode()
        finally:
            process.kill()
