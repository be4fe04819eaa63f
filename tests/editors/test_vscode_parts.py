"""The extension's parts that need no VS Code: they show and offer what the language server does, and hang up."""

from __future__ import annotations

import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from albor.serve.suggestion import fitting
from albor.serve.window import window
from tests.editors.programs import CONFIGS, program
from tests.serve.infill import body_of, infill, until

PIECES = ["\n", "a", "bc ", "    ", "é", "x" * 30, "(", ")", "[", "return 1", "\r\n"]
CASES = 2000


def node(script: str, given: Any, tmp_path: Path) -> Any:
    """What a script makes of what it is ``given``; ``parts`` are the modules."""
    parts = {name: str(CONFIGS / "vscode" / f"{name}.js") for name in ("text", "client")}
    requires = "\n".join(f"const {name} = require({json.dumps(path)});" for name, path in parts.items())
    given_file = tmp_path / "given.json"
    given_file.write_text(json.dumps(given))
    code = f"""{requires}
        const given = JSON.parse(require('fs').readFileSync({json.dumps(str(given_file))}, 'utf8'));
        (async () => {{ {script} }})().then((made) => console.log(JSON.stringify(made)));"""
    done = subprocess.run(
        [program("ALBOR_NODE", "node"), "-e", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_is_shown_and_offered_as_by_the_language_server(tmp_path: Path) -> None:
    numbers = random.Random(0)

    def text(most: int) -> str:
        return "".join(numbers.choices(PIECES, k=numbers.randrange(most)))

    cases: list[dict[str, Any]] = [
        {"before": text(60), "after": text(30), "text": text(9), "others": [("a.py", text(30)), ("b.py", text(9))],
         "budget": numbers.randrange(1, 400)}
        for _ in range(CASES)
    ]  # fmt: skip
    for case in cases[::2]:  # half of them overlap
        case["text"] += case["after"][: numbers.randrange(12)]
    script = """return given.map(({ before, after, others, budget, text: made }) =>
        [text.window(before, after, others, budget), text.fitting(made, before, after)]);"""
    offered = 0
    for case, (shown, fits) in zip(cases, node(script, cases, tmp_path), strict=True):
        ours = window(case["before"], case["after"], case["others"], budget=case["budget"])
        assert shown == {"prefix": ours.prefix, "suffix": ours.suffix, "extra": [list(e) for e in ours.extra]}, case
        assert fits == fitting(case["text"], case["before"], case["after"]), case
        offered += bool(fits)
    assert CASES / 10 < offered < CASES * 9 / 10


SETTINGS = {"url": "", "model": "m", "apiKey": "k", "maxTokens": 5}
AROUND = {"prefix": "a\ud83d", "suffix": "b", "extra": [["n.py", "t"]]}


def test_what_it_asks(tmp_path: Path) -> None:
    with infill() as server:
        given = [SETTINGS | {"url": f"{server.url}/"}, AROUND]
        assert node("return client.complete(...given, new AbortController().signal);", given, tmp_path) == "pass"
    (asked,) = server.asked
    assert asked.path == "/infill" and asked.headers["Authorization"] == "Bearer k"
    assert asked.body == body_of("a\ufffd", tokens=5, stop=[])


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    script = "return client.complete(...given, new AbortController().signal).catch((error) => error.message);"
    with infill() as server:
        given = [SETTINGS | {"url": server.url}, AROUND]
        server.says = 5
        assert "/infill answers 200: " in node(script, given, tmp_path)
        server.status = 503
        assert node(script, given, tmp_path).endswith("/infill answers 503: no, thank you")
    assert node(script, given, tmp_path).endswith("/infill cannot be reached (ECONNREFUSED)")


def test_what_is_aborted_is_hung_up_on_at_once(tmp_path: Path) -> None:
    """While the process that asked goes on."""
    abort, end = tmp_path / "abort", tmp_path / "end"
    script = """
        const [abortFile, endFile, ...request] = given;
        const there = async (file) => {
            while (!require('fs').existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 10));
        };
        const abort = new AbortController();
        const answer = client.complete(...request, abort.signal).catch(() => 'hung up');
        await there(abortFile);
        abort.abort();
        await there(endFile);
        return answer;"""
    with infill() as server, ThreadPoolExecutor() as pool:
        server.delay = 10.0
        given = [str(abort), str(end), SETTINGS | {"url": server.url}, AROUND]
        answer = pool.submit(node, script, given, tmp_path)
        server.wait(1)
        abort.touch()
        until(lambda: server.asked[0].gone, "a connection that is closed", 2)
        end.touch()
        assert answer.result() == "hung up"
