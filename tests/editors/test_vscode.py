"""The shipped extension in VS Code itself: code-server, and a browser without a window."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser import NEEDS_BROWSER, driven
from tests.editors.programs import ANSWER, CONFIGS, environment, program
from tests.serve.infill import Infill, infill, until

pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]

QUIET = {
    "chat.disableAIFeatures": True,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "extensions.autoCheckUpdates": False,
    "files.autoSave": "off",
    "git.enabled": False,
    "telemetry.telemetryLevel": "off",
    "workbench.editor.enablePreview": False,  # each file in a tab of its own
    "workbench.startupEditor": "none",
}
SLOWLY = 60_000
"""Milliseconds in which VS Code starts even here."""
GHOST = ".ghost-text-decoration, .ghost-text"
ITEM = ".statusbar-item#albor\\.albor\\.albor"


class Code:
    """VS Code with a file open and the cursor in it."""

    def __init__(self, page: Any, settings: Path) -> None:
        self.page, self._settings = page, settings

    def type(self, text: str) -> None:
        self.page.keyboard.type(text, delay=30)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, holds: Callable[[], object], what: str) -> None:
        """The page goes on meanwhile."""
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, f"waited in vain for {what}"
            self.page.wait_for_timeout(20)

    def focus(self) -> None:
        self.page.locator(".editor-instance .monaco-editor .view-lines").first.click()

    def shown(self) -> str:
        """The suggestion: lines after the first come first."""
        return "".join(self.page.locator(GHOST).all_inner_texts()).replace("\xa0", " ")

    def status(self) -> str:
        return str(self.page.locator(ITEM).get_attribute("aria-label"))

    def settings(self) -> Any:
        return json.loads(self._settings.read_text())


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def code_server(home: Path, settings: dict[str, Any]) -> Iterator[str]:
    """The address of a code-server that has only this extension, and only these settings."""
    command = program("ALBOR_CODE_SERVER", "code-server")
    user, extensions = home / "user", home / "extensions"
    (user / "User").mkdir(parents=True)
    (user / "User" / "settings.json").write_text(json.dumps(QUIET | settings))
    subprocess.run([CONFIGS / "vscode" / "vsix.sh", home / "albor.vsix"], check=True)
    port = free_port()
    words = {"auth": "none", "bind-addr": f"127.0.0.1:{port}", "user-data-dir": user, "extensions-dir": extensions,
             "config": home / "none.yaml"}  # fmt: skip
    switches = [f"--{name}={value}" for name, value in words.items()]
    env = environment(home)
    quiet = ("--disable-telemetry", "--disable-update-check", "--disable-workspace-trust")
    with (home / "log").open("w") as log:
        install = [command, *switches, "--install-extension", str(home / "albor.vsix")]
        subprocess.run(install, env=env, stdout=log, stderr=log, check=True, timeout=60)
        command_line = [command, *switches, *quiet]
        process = subprocess.Popen(command_line, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "code-server", 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


@contextmanager
def code(home: Path, server: Infill, *files: Path) -> Iterator[Code]:
    """VS Code with the extension running and these files open, the last of them in front."""
    settings = {"albor.url": server.url, "albor.apiKey": "k", "albor.model": "m"}
    with code_server(home, settings) as url, driven() as chromium:
        page = chromium.new_page(viewport={"width": 1000, "height": 600})
        page.set_default_timeout(SLOWLY)
        host = url.removeprefix("http://")
        opened = [["openFile", f"vscode-remote://{host}{files[0]}"]]
        try:
            page.goto(f"{url}/?folder={files[0].parent}&payload={json.dumps(opened)}")
            page.locator(f'.tab.active[data-resource-name="{files[0].name}"]').wait_for()
            for file in files[1:]:
                page.locator(f'.explorer-folders-view .monaco-list-row[aria-label^="{file.name}"]').click()
                page.locator(f'.tab.active[data-resource-name="{file.name}"]').wait_for()
            page.locator(ITEM).wait_for()
            opened_code = Code(page, home / "user" / "User" / "settings.json")
            opened_code.focus()
            yield opened_code
        except BaseException:
            page.screenshot(path=home / "screen.png")
            raise
        finally:
            chromium.close()


def test_completions_in_vs_code(tmp_path: Path) -> None:
    """One start for all of it: shown, taken, hung up on, failing and well again, switched off."""
    folder = tmp_path / "work"
    folder.mkdir()
    other, file = folder / "b.py", folder / "a.py"
    other.write_text("b = 1\n")
    file.write_text("x = '🙂'\r\n\r\ny = 2\r\n")
    with infill() as server, code(tmp_path, server, other, file) as editor:
        server.says = ANSWER
        editor.press("Control+Home", "ArrowDown")
        editor.type("def ")
        editor.wait(lambda: editor.shown() == "    return a + badd(a, b):", f"a suggestion: {editor.shown()}")
        asked = server.asked[-1]
        assert (asked.body["input_prefix"], asked.body["input_suffix"]) == ("x = '🙂'\ndef ", "\ny = 2\n")
        assert asked.body["input_extra"] == [{"filename": "b.py", "text": "b = 1\n"}]
        assert asked.body["model"] == "m" and asked.headers["Authorization"] == "Bearer k"
        editor.press("Tab", "Control+s")
        editor.wait(lambda: "return" in file.read_text(), "the file")
        assert file.read_bytes().decode() == "x = '🙂'\r\ndef add(a, b):\r\n    return a + b\r\ny = 2\r\n"

        server.delay, server.says = 10.0, "+ c"
        before = len(server.asked)
        editor.type(" ")
        editor.wait(lambda: len(server.asked) == before + 1, "a request")
        server.delay = 0.0
        editor.type("+")
        editor.wait(lambda: server.asked[before].gone, "a connection that is closed")

        server.status = 503
        editor.type("1")
        editor.wait(lambda: "answers 503: no, thank you" in editor.status(), "the warning")
        server.status = 200
        editor.type("2")
        editor.wait(lambda: "completions are on" in editor.status(), "the warning's end")

        editor.page.locator(ITEM).click()
        editor.wait(lambda: "completions are off" in editor.status(), "the switch")
        assert editor.settings()["albor.enabled"] is False
        editor.focus()
        before = len(server.asked)
        editor.type("3456")
        editor.page.wait_for_timeout(500)
        assert len(server.asked) == before
