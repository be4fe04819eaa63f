"""The shipped config in Helix itself, in a terminal of the test's own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.editors.programs import ANSWER, CONFIGS, environment, program
from tests.serve.infill import PATIENCE, Infill, infill

pytest.importorskip("pygls", reason="pip install 'albor[serve]'")
pexpect = pytest.importorskip("pexpect", reason="pip install pexpect")
pyte = pytest.importorskip("pyte", reason="pip install pyte")

SIZE = (24, 100)
SETTINGS = "[editor]\ncompletion-timeout = 5\ncompletion-trigger-len = 1\nidle-timeout = 50\n"

GREETED = 'albor -> {"jsonrpc":"2.0","method":"initialized"'


class Helix:
    """A Helix in a terminal, driven by keys."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self._child = pexpect.spawn(command[0], command[1:], cwd=cwd, env=env, dimensions=SIZE)
        self._screen = pyte.Screen(SIZE[1], SIZE[0])
        self._screen.write_process_input = self._child.send  # what the editor asks of a terminal is answered
        answer = self._screen.report_device_status
        self._screen.report_device_status = lambda mode, private=False: None if private else answer(mode)
        self._stream = pyte.ByteStream(self._screen)

    def type(self, keys: str) -> None:
        self._child.send(keys)

    def take(self) -> None:
        """The first item of the menu, which is selected first."""
        self.type("\t")
        self.type("\r")

    def rows(self) -> list[str]:
        """What the screen shows now."""
        try:
            while True:
                self._stream.feed(self._child.read_nonblocking(1 << 16, 0.02))
        except (pexpect.TIMEOUT, pexpect.EOF):
            return [row.rstrip() for row in self._screen.display]

    def wait(self, holds: Callable[[str], Any]) -> None:
        """Until the screen, as one text, is as it should be."""
        end = time.monotonic() + PATIENCE
        while not holds(screen := "\n".join(self.rows())):
            assert time.monotonic() < end and self._child.isalive(), screen

    def end(self) -> None:
        self._child.terminate(force=True)


@contextmanager
def helix(tmp_path: Path, server: Infill, text: str) -> Iterator[Helix]:
    """One that has opened a file with the shipped config, in which the server's address is this one's."""
    editor = program("ALBOR_HX", "hx")
    env = environment(tmp_path, COLORTERM="truecolor")
    config, log = tmp_path / "config" / "helix", tmp_path / "log"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(SETTINGS)
    shipped = (CONFIGS / "helix" / "languages.toml").read_text()
    (config / "languages.toml").write_text(shipped.replace("http://127.0.0.1:8000", server.url))
    file = tmp_path / "a.py"
    file.write_text(text)
    driven = Helix([editor, "-v", "--log", str(log), str(file)], tmp_path, env)
    try:
        driven.wait(lambda screen: "NOR" in screen and log.exists() and GREETED in log.read_text())
        yield driven
    finally:
        driven.end()


@pytest.fixture
def server() -> Iterator[Infill]:
    with infill() as served:
        yield served


def written(tmp_path: Path, editor: Helix) -> str:
    """The file, once the editor has ended normally."""
    editor.type("\x1b")
    editor.wait(lambda screen: "NOR" in screen)
    editor.type(":write-quit\r")
    while editor._child.isalive():
        editor.rows()
    return (tmp_path / "a.py").read_text()


def test_many_lines_from_the_menu(tmp_path: Path, server: Infill) -> None:
    """Verbatim: the lines after the first are indented as they come."""
    server.says = 'turn {\n        "é": "🙂",\n    }\n\ndef g():\n    pass\n'
    with helix(tmp_path, server, "def f():\n    x = '🙂'\n") as editor:
        editor.type("geo")
        editor.wait(lambda screen: "INS" in screen)
        editor.type("re")
        editor.wait(lambda screen: "return { …" in screen)
        assert server.asked[-1].body["input_prefix"] == "def f():\n    x = '🙂'\n    re"
        editor.take()
        editor.wait(lambda screen: re.search(r"def g\(\):\n.*pass", screen) and "return { …" not in screen)
        text = written(tmp_path, editor)
    assert text == 'def f():\n    x = \'🙂\'\n    return {\n        "é": "🙂",\n    }\n\ndef g():\n    pass\n'


def test_the_menu_on_demand(tmp_path: Path, server: Infill) -> None:
    """Where no word is being typed it opens when it is asked for."""
    server.says = ANSWER
    with helix(tmp_path, server, "x = 1\ndef \n") as editor:
        editor.type("geA")
        editor.wait(lambda screen: "INS" in screen)
        editor.type("\x18")
        editor.wait(lambda screen: "add(a, b): …" in screen)
        editor.take()
        editor.wait(lambda screen: "add(a, b): …" not in screen and "return a + b" in screen)
        text = written(tmp_path, editor)
    assert text == f"x = 1\ndef {ANSWER}\n"


def test_keys_while_an_answer_is_on_its_way(tmp_path: Path, server: Infill) -> None:
    """Helix does not ask again while it waits, so the answer is to what is typed by then."""
    server.delay, server.says = 0.5, lambda body: "return 1"[len(body["input_prefix"]) :]
    with helix(tmp_path, server, "\n") as editor:
        editor.type("ir")
        server.wait(1)
        editor.type("et")
        editor.wait(lambda screen: "return 1" in screen)
        editor.take()
        text = written(tmp_path, editor)
    assert text == "return 1\n"


def test_a_server_that_is_not_there_is_told(tmp_path: Path, server: Infill) -> None:
    server.status = 503
    with helix(tmp_path, server, "\n") as editor:
        editor.type("ire")
        editor.wait(lambda screen: "answers 503: no, thank you" in screen)
    assert [asked.path for asked in server.asked][:1] == ["/infill"]
