"""The tutorial from its first page to its last, each command as it stands, in a smaller form and from an empty
directory: the same words, with overrides behind them that make models of minutes models of seconds."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from albor.runs.ports import listen
from tests.command import TIMEOUT
from tests.docs.pages import ROOT, Command, blocks, commands
from tests.serve.editor import editing
from tests.serve.serving import until
from tests.small_corpus import SMALL_RUNGS, write_corpus

pytestmark = pytest.mark.slow
PAGE = "docs/tutorial.md"
SMALL = ("debug=default", "tracking=none")
ELSEWHERE = ("git", "make", ".", "code", "cd", "editors/vscode/vsix.sh")
"""What another test does, or what installs."""


class Reader:
    """Somebody who gives the commands of the page one after the other."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run = ""
        """The run that was listed last: RUN in what follows."""
        with listen("127.0.0.1", 0) as free:
            self.port = int(free.getsockname()[1])
        self.server: subprocess.Popen[bytes] | None = None
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"HOME": str(place / "home"), "PATH": path}

    def words(self, command: Command) -> list[str]:
        """The command in its smaller form."""
        words = [word.replace("RUN", self.run).replace("8000", str(self.port)) for word in command.words]
        words = [re.sub("^~/", f"{self.place}/home/", word) for word in words]
        given = command.albor
        if (
            given is None
            or "experiment=short" in given
            or any(word.isalpha() and word not in ("plan", "validate") for word in given)
        ):
            return words
        small = [text for text in SMALL if text not in words]
        target = next((word for word in given if word.startswith(("stage=", "experiment="))), "stage=ladder")
        if target in ("stage=ladder", "stage=serve"):
            small += SMALL_RUNGS
        if target == "stage=serve":
            small += [f"stage.port={self.port}", "stage.threads=1"]
        if "data=local" in words:
            small = [text for text in small if text != "debug=default"]
        return words + small

    def give(self, command: Command) -> str:
        """What the command prints. It must succeed."""
        words = self.words(command)
        if "stage=serve" in words:
            self.server = subprocess.Popen(words, cwd=self.place, env=self.environment)
            until(self.answers, TIMEOUT)
            return ""
        done = subprocess.run(
            words, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        if command.albor and command.albor[:1] == ("runs",) and len(command.albor) == 2:
            self.run = re.findall(rf"{command.albor[1]} +(\S+)", done.stdout)[-1]
        return done.stdout + done.stderr

    def answers(self) -> bool:
        assert self.server and self.server.poll() is None, "the server ended"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health").status_code == 200
        except httpx.HTTPError:
            time.sleep(0.2)
            return False


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    write_corpus(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "editors").symlink_to(ROOT / "editors")
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.title).write_text(block.text)
    made = Reader(tmp_path)
    yield made
    if made.server:
        made.server.send_signal(signal.SIGTERM)
        made.server.wait(60)


@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks with curl")
def test_from_nothing_to_a_completion(reader: Reader) -> None:
    given = [command for command in commands(PAGE) if command.words[0] not in ELSEWHERE]
    said = [(" ".join(command.words), reader.give(command)) for command in given]
    told = dict(said)
    first, again = (out for words, out in said if words == "albor stage=report debug=default")
    assert "report/tiny-" in first and "nothing to do" in again
    changed = told["albor plan stage=report debug=default optim.lr=1e-3"]
    assert re.search(r"pack .* done", changed) and re.search(r"pretrain .* new", changed)
    rungs = told["albor plan up.distill.distill.alpha=0.1"]
    assert re.search(r"pretrain .* done", rungs) and re.search(r"distill .* new", rungs)
    assert re.search("steps +500 ", told["albor plan --config-dir mine experiment=short"])
    models = told["curl http://127.0.0.1:8000/v1/models"]
    assert all(f'"{rung}"' in models for rung in ("base", "distill", "instruct", "merged", "pruned", "q4"))
    asked = next(out for words, out in said if "v1/completions" in words)
    assert '"choices"' in asked and '"text"' in asked
    assert "lsp" in told["albor lsp --help"] and "has the lowest val_loss" in told["albor compare"]
    assert (reader.place / "home/.config/nvim/lua/albor.lua").is_file()
    with editing(f"http://127.0.0.1:{reader.port}", "--model", "q4") as editor:
        editor.open("def add(a, b):\n    \n")
        answer = editor.answer(editor.inline(1, 4))
        assert answer is None or all(isinstance(item["insertText"], str) for item in answer["items"])
        assert editor.said.empty()
