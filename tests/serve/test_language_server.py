"""`albor lsp` as a process of its own, between an editor's messages and a server that answers /infill."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import albor
from albor.serve.suggestion import MOST_LINES, fitting
from tests.serve.editor import AUTOMATIC, URI, Editor, at, editing
from tests.serve.infill import Infill, infill, until
from tests.serve.serving import serving

pytest.importorskip("pygls", reason="pip install 'albor[serve]'")

SOON = 0.1
"""Seconds in which a server must learn that nobody waits any more."""
OTHER = "file:///home/me/project/pkg/b.py"


@pytest.fixture
def server() -> Iterator[Infill]:
    with infill() as served:
        yield served


@pytest.fixture
def editor(server: Infill) -> Iterator[Editor]:
    with editing(server.url) as made:
        yield made


def text_of(answer: dict[str, Any] | None) -> str | None:
    """Of an answer with one inline suggestion, its text."""
    if answer is None:
        return None
    (item,) = answer["items"]
    return str(item["insertText"])


def item_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["isIncomplete"] is True
    (item,) = answer["items"]
    return dict(item)


def test_what_it_offers(editor: Editor, server: Infill) -> None:
    assert editor.capabilities["inlineCompletionProvider"] == {}
    assert editor.capabilities["textDocumentSync"] == {"openClose": True, "change": 2, "save": False}
    editor.open("import os\n\ndef f():\n    re\n")
    server.says = "turn os.sep\n"
    assert editor.answer(editor.inline(3, 6)) == {
        "items": [{"insertText": "turn os.sep", "range": {"start": at(3, 6), "end": at(3, 6)}}]
    }
    item = item_of(editor.answer(editor.menu(3, 6)))
    assert item["label"] == "return os.sep" and item["insertTextFormat"] == 1
    assert item["textEdit"] == {"range": {"start": at(3, 4), "end": at(3, 6)}, "newText": "return os.sep"}
    body = server.asked[-1].body
    assert (
        server.asked[-1].path == "/infill" and "model" not in body and "Authorization" not in server.asked[-1].headers
    )
    assert (body["input_prefix"], body["input_suffix"]) == ("import os\n\ndef f():\n    re", "\n")
    assert (body["prompt"], body["stream"], body["cache_prompt"], body["temperature"]) == ("", False, True, 0.0)
    assert (body["n_predict"], body["stop"], body["input_extra"]) == (64, [], [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", None])
def test_places_after_an_emoji(encoding: str | None, server: Infill) -> None:
    with editing(server.url, encodings=(encoding,) if encoding else ()) as editor:
        assert editor.capabilities["positionEncoding"] == encoding or encoding is None
        begun = 'é = "🙂🙂"; x'
        units = {"utf-8": len(begun.encode()), "utf-32": len(begun)}.get(encoding or "", len(begun) + 2)
        editor.open(f"a = 1\r\n\f\n{begun}; y = 2\n")
        server.says = " = 3"
        here = at(2, units)
        assert editor.answer(editor.inline(2, units))["items"][0]["range"] == {"start": here, "end": here}
        assert server.asked[-1].body["input_prefix"] == f"a = 1\n\f\n{begun}"
        assert server.asked[-1].body["input_suffix"] == "; y = 2\n"
        editor.type("yz", 2, units - 1, over=1)
        edit = item_of(editor.answer(editor.menu(2, units + 1)))["textEdit"]
        assert edit == {"range": {"start": at(2, units - 1), "end": at(2, units + 1)}, "newText": "yz = 3"}
        assert server.asked[-1].body["input_prefix"] == f"a = 1\n\f\n{begun[:-1]}yz"


@pytest.mark.parametrize("how", ["cancelled", "overtaken", "edited", "closed"])
def test_a_request_that_is_over_is_hung_up_on_at_once(how: str, editor: Editor, server: Infill) -> None:
    editor.open("de\n")
    editor.open("de\n", OTHER)
    server.delay = 10.0
    elsewhere, first = editor.inline(0, 2, uri=OTHER), editor.inline(0, 2)
    server.wait(2)
    begun = next(a for a in server.asked if a.gone is None)
    server.delay, server.says = 0.0, "f f():"
    now = time.monotonic()
    second = None
    if how == "cancelled":
        editor.tell("$/cancelRequest", {"id": first})
    elif how == "overtaken":
        second = editor.inline(0, 2)
    elif how == "edited":
        editor.type("f", 0, 2)
    else:
        editor.tell("textDocument/didClose", {"textDocument": {"uri": URI}})
    answer = editor.answer(first)
    assert answer is None if how != "cancelled" else answer["code"] == -32800
    until(lambda: any(a.gone for a in server.asked), "a connection that is closed")
    gone = [a for a in server.asked if a.gone is not None]
    assert len(gone) == 1 and gone[0].gone is not None and gone[0].gone - now < SOON
    assert second is None or text_of(editor.answer(second)) == "f f():"
    assert begun in server.asked and elsewhere  # what is asked about another document goes on
    editor.tell("$/cancelRequest", {"id": elsewhere})


@pytest.mark.parametrize("typed", ["e", "et", " ", ""])
def test_an_editor_that_asks_once_is_answered_for_the_word_as_it_is_typed_on(typed: str, server: Infill) -> None:
    with editing(server.url, client="helix") as editor:
        editor.open("x\nr\n")
        server.delay = 10.0
        number = editor.menu(1, 1)
        server.wait(1)
        server.delay, server.says = 0.0, lambda body: "x\nreturn"[len(body["input_prefix"]) :]
        editor.type(typed, 1, 1 if typed else 0, over=0 if typed else 1)
        answer = editor.answer(number)
        until(lambda: server.asked[0].gone, "a connection that is closed")
        if typed.isalpha():
            assert item_of(answer)["textEdit"]["newText"] == "return"
            assert item_of(answer)["textEdit"]["range"] == {"start": at(1, 0), "end": at(1, 1)}
            assert server.asked[-1].body["input_prefix"] == f"x\nr{typed}"
        else:
            assert answer["items"] == [] and len(server.asked) == 1


def test_every_answer_is_to_its_own_question(editor: Editor, server: Infill) -> None:
    """Each key edits and asks: what is not overtaken fits the text that stood there."""
    editor.open("\n")
    server.delay, server.says = 0.02, lambda body: f"{len(body['input_prefix'])}!"
    numbers = []
    for count in range(30):
        editor.type("x", 0, count)
        numbers.append(editor.inline(0, count + 1))
        time.sleep(0.02 * (count % 4))
    answers = [text_of(editor.answer(number)) for number in numbers]
    assert answers[-1] == "30!"
    assert all(text in (None, f"{count + 1}!") for count, text in enumerate(answers))


def test_keys_in_a_hurry_ask_once(server: Infill) -> None:
    with editing(server.url, options={"debounceMs": 200}) as editor:
        editor.open("\n")
        numbers = []
        for count in range(8):
            editor.type("x", 0, count)
            numbers.append(editor.inline(0, count + 1, trigger=AUTOMATIC))
        answers = [editor.answer(number) for number in numbers]
        # The first one comes after a pause and is asked for at once; the others overtake it, or come after its answer.
        assert [text_of(answer) for answer in answers[1:]] == [None] * 6 + ["pass"]
        assert [asked.body["input_prefix"] for asked in server.asked][-1] == "x" * 8 and len(server.asked) <= 2
        now = time.monotonic()
        editor.answer(editor.inline(0, 8))
        assert time.monotonic() - now < 0.2  # who asks does not wait
        editor.type("y", 0, 8)
        now = time.monotonic()
        editor.answer(editor.inline(0, 9, trigger=AUTOMATIC))
        assert time.monotonic() - now < 0.2  # nor does a key after a pause


def test_who_types_a_suggestion_is_not_asked_about_again(editor: Editor, server: Infill) -> None:
    editor.open("x = \ny = 2\n")
    server.says = "sum(range(3))"
    assert text_of(editor.answer(editor.inline(0, 4))) == "sum(range(3))"
    for place, key in enumerate("sum", start=4):
        editor.type(key, 0, place)
        assert text_of(editor.answer(editor.inline(0, place + 1))) == "sum(range(3))"[place - 3 :]
    assert len(server.asked) == 1
    server.says = "mer"
    editor.type("x", 0, 7)  # something else
    assert text_of(editor.answer(editor.inline(0, 8))) == "mer" and len(server.asked) == 2
    editor.type("mer", 0, 8)  # all of it
    editor.answer(editor.inline(0, 11))
    assert len(server.asked) == 3


def test_the_server_itself_answers(directories: dict[str, Path], tmp_path: Path) -> None:
    """Not one of the tests' own: what a key is answered with is what the model writes there."""
    model = albor.load(directories["base"], threads=1)
    before, after = "def add(a, b):\n    return 3", "\n\nprint(add(1, 2))\n"
    said = model.complete(before, suffix=after, max_tokens=24, fim="spm").text
    with (
        serving(tmp_path, f"inputs.model={directories['base']}") as server,
        editing(server.url, options={"maxTokens": 24}) as editor,
    ):
        editor.open(before[:-1] + after)
        editor.type("3", 1, 11)
        found = text_of(editor.answer(editor.inline(1, 12, trigger=AUTOMATIC)))
        assert found == fitting(said, before, after, most_lines=MOST_LINES) != ""


def test_an_answer_has_bounds(editor: Editor, server: Infill) -> None:
    editor.open("\n")
    lines = [f"x{n} = {'1' * 100}" for n in range(50)]
    server.says = "\n".join(lines)
    assert text_of(editor.answer(editor.inline(0, 0))) == "\n".join(lines[:20])
    item = item_of(editor.answer(editor.menu(0, 0)))
    assert len(item["label"]) == 60 and "\n" not in item["label"]


def test_what_fails_is_said_once(editor: Editor, server: Infill) -> None:
    editor.open("\n")
    for status, words in ((503, "no, thank you"), (401, "--key-env"), (413, "contextCharacters"), (404, "name")):
        server.status = status
        assert [editor.answer(editor.inline(0, 0)) for _ in range(3)] == [None] * 3
        assert editor.answer(editor.menu(0, 0))["items"] == []
        said = editor.said.get(timeout=5)
        assert str(status) in said and words in said and said.startswith("albor: ")
        with pytest.raises(queue.Empty):
            editor.said.get(timeout=0.05)
        server.status = 200
        assert text_of(editor.answer(editor.inline(0, 0))) == "pass"
    server.says = None
    assert editor.answer(editor.inline(0, 0)) is None
    assert "without content" in editor.said.get(timeout=5)


def test_a_server_that_is_not_there_yet() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with editing(f"http://127.0.0.1:{port}/") as editor:
        editor.open("\n")
        assert [editor.answer(editor.inline(0, 0)) for _ in range(3)] == [None] * 3
        assert "cannot be reached" in editor.said.get(timeout=5)
        with infill(port) as server:
            assert text_of(editor.answer(editor.inline(0, 0))) == "pass"
            assert len(server.asked) == 1
        assert editor.answer(editor.inline(0, 0)) is None
        assert "cannot be reached" in editor.said.get(timeout=5)
        assert editor.said.empty()


BODY = 'turn {\n        "${a}": 1,\n\n    }\n\ndef g():\n'
"""The rest of `return`, and the function after it."""


@pytest.mark.parametrize(
    ("client", "kind", "inserted"),
    [
        ("helix", 1, 're' + BODY.rstrip()),
        ("Neovim", 2, 'return {\n    "\\${a\\}": 1,\n\n\\}'),
    ],
)  # fmt: skip
def test_many_lines(client: str, kind: int, inserted: str, server: Infill) -> None:
    """Neovim's menu takes a snippet and indents its later lines itself; what cannot be told so is left out."""
    with editing(server.url, client=client) as editor:
        editor.open("def f():\n    re\n")
        server.says = BODY
        item = item_of(editor.answer(editor.menu(1, 6)))
        assert (item["insertTextFormat"], item["textEdit"]["newText"]) == (kind, inserted)
        assert item["label"] == "return { …"
        assert text_of(editor.answer(editor.inline(1, 6))) == BODY.rstrip()
        server.says = after = "\ndef g():\n    pass"
        outside = editor.answer(editor.menu(1, 6))["items"]
        assert [i["textEdit"]["newText"] for i in outside] == ([] if client == "Neovim" else ["re" + after])


def test_nothing_is_offered_twice(editor: Editor, server: Infill) -> None:
    editor.open("print(\n)\nfoo(, b)\n")
    for says, line, character, offered in (
        ("  \n ", 0, 6, None),
        ("\n)\n", 0, 6, None),
        ("1\n)\n", 0, 6, "1"),
        ("a, b)\n", 2, 4, "a"),
        ("a(1)", 2, 4, "a(1)"),
    ):
        server.says = says
        assert text_of(editor.answer(editor.inline(line, character))) == offered, says


def test_what_an_editor_may_set(server: Infill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "secret")
    options = {"url": server.url, "model": "m", "keyEnv": "OUR_KEY", "maxTokens": 7, "multiline": False,
               "contextCharacters": 40, "debounceMs": None}  # fmt: skip
    with editing("http://127.0.0.1:1", options=options) as editor:
        editor.open("aaaa\n" * 20)
        server.says = "one\ntwo"
        assert text_of(editor.answer(editor.inline(10, 4))) == "one"
        asked = server.asked[-1]
        assert (asked.body["model"], asked.body["n_predict"], asked.body["stop"]) == ("m", 7, ["\n"])
        assert asked.headers["Authorization"] == "Bearer secret"
        assert len(asked.body["input_prefix"]) <= 20 and len(asked.body["input_suffix"]) <= 10
        assert editor.said.empty()


def test_options_that_mean_nothing_are_said(server: Infill) -> None:
    options = {"maxToken": 5, "multiline": 1, "url": "example"}
    with editing(server.url, options=options) as editor:
        for words in ("did you mean maxTokens?", "multiline is true or false", "'example' is no address of a server"):
            assert words in editor.said.get(timeout=5)
        editor.open("\n")
        assert text_of(editor.answer(editor.inline(0, 0))) == "pass"  # by what the command line said


def test_other_files_that_are_open(server: Infill) -> None:
    with editing(server.url, "--model", "big", root="file:///home/me/project") as editor:
        editor.open("b = 1\n", OTHER)
        editor.open("c = 1\n", "file:///elsewhere/c%20d.py")
        editor.open("# text\n", "file:///home/me/project/t.md", "markdown")
        editor.open("\n")
        editor.type("bb", 0, 0, over=1, uri=OTHER)
        editor.answer(editor.inline(0, 0))
        extra = [{"filename": "pkg/b.py", "text": "bb = 1\n"}, {"filename": "c d.py", "text": "c = 1\n"}]
        assert server.asked[-1].body["input_extra"] == extra and server.asked[-1].body["model"] == "big"
        editor.tell("textDocument/didClose", {"textDocument": {"uri": OTHER}})
        editor.answer(editor.inline(0, 0))
        assert server.asked[-1].body["input_extra"] == extra[1:]
        assert editor.answer(editor.inline(0, 0, uri=OTHER)) is None
        assert editor.answer(editor.menu(0, 0, uri=OTHER))["items"] == []


def test_a_document_that_is_sent_whole(editor: Editor, server: Infill) -> None:
    editor.open("one\n")
    editor.tell(
        "textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"text": "two\n"}]}
    )
    editor.answer(editor.inline(0, 3))
    assert server.asked[-1].body["input_prefix"] == "two"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "nowhere"), "http://nowhere"),
        (("--url", "ftp://host"), "'ftp://host' is no address"),
        (("--key-env", "NOT_SET"), "NOT_SET"),
        (("extra",), "takes no word"),
        (("--model",), "--model"),
    ],
)
def test_a_mistake_on_the_command_line(words: tuple[str, ...], said: str, albor) -> None:
    done = albor("lsp", *words)
    assert done.code == 2 and said in done.err and done.out == ""


def test_it_needs_nothing_heavy() -> None:
    probe = "import sys, albor.serve.language_server; assert not {'torch', 'numpy', 'hydra'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", probe], timeout=60, check=True)


@pytest.mark.parametrize("package", ["pygls", "httpx2"])
def test_without_its_packages(package: str, albor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = albor("lsp")
    assert done.code == 2 and f"the package {package} is not installed" in done.err
    assert "pip install 'albor[serve]'" in done.err
