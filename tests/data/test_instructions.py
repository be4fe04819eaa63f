from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data import instructions
from albor.data.chat import Message
from albor.data.errors import DataError
from albor.data.instructions import InstructionFiles, Malformed, parse

PAIR = (Message("user", "Say a."), Message("assistant", "a"))


def line(**row: object) -> bytes:
    return json.dumps(row).encode()


def say(*roles: str, **more: object) -> bytes:
    return line(messages=[{"role": role, "content": "words", **more} for role in roles])


@pytest.mark.parametrize(
    "text",
    [
        line(messages=[{"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a"}], id=3),
        line(prompt="Say a.", completion="a"),
        line(instruction="Say a.", output="a"),
        line(instruction="Say a.", input="", output="a"),
        line(instruction="Say a.", input=None, output="a", source="alpaca"),
        b"\xef\xbb\xbf" + line(prompt="Say a.", completion="a"),
    ],
)
def test_the_three_shapes_say_the_same(text: bytes) -> None:
    assert parse(text) == PAIR


def test_an_input_follows_its_instruction_and_a_conversation_may_be_long() -> None:
    assert parse(line(instruction="Add.", input="1 2", output="3"))[0].content == "Add.\n\n1 2"
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [message.role for message in parse(say(*roles))] == roles


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b'{"prompt": "a"', "not JSON"),
        (b"\xff{}", "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'["a"]', "not an object"),
        (b'{"text": "a"}', "no known key"),
        (line(prompt="a", completion="b", instruction="c", output="d"), "prompt and instruction"),
        (line(prompt="a"), "completion is missing"),
        (line(prompt="a", completion=3), "completion is not text"),
        (line(prompt="a", completion=" \n"), "completion is empty"),
        (line(instruction="a", output=""), "output is empty"),
        (line(instruction="a", input=["b"], output="c"), "input is not text"),
        (line(prompt="", completion="b"), "prompt is empty"),
        (b'{"prompt": "a", "completion": "\\ud800"}', "half a character"),
        (line(messages=[]), "not a list of messages"),
        (line(messages="a"), "not a list of messages"),
        (line(messages=["a"]), r"messages\[0\] is not an object"),
        (say("user"), "no message is the assistant's"),
        (say("assistant"), "before the user"),
        (say("system", "assistant", "user", "assistant"), "before the user"),
        (say("user", "assistant", "user"), "last message is not"),
        (say("user", "system", "assistant"), "behind others"),
        (say("user", "tool", "assistant"), r'messages\[1\].role is "tool", not one of system, user, assistant'),
        (line(messages=[{"role": ["user"], "content": "a"}]), "role is"),
        (line(messages=[{"role": "user"}]), r"messages\[0\].content is missing"),
        (say("user", "assistant", weight=0), "weight; only role and content"),
    ],
)
def test_a_malformed_line_is_refused_with_its_place(tmp_path: Path, text: bytes, wrong: str) -> None:
    with pytest.raises(Malformed, match=wrong):
        parse(text)
    good = line(prompt="Say a.", completion="a")
    path = tmp_path / "some.jsonl"
    path.write_bytes(good + b"\n\n" + text + b"\n" + good)
    with pytest.raises(DataError, match=f"some.jsonl:3: .*{wrong}") as refused:
        list(InstructionFiles(path))
    assert refused.value.help and "skip_malformed" in refused.value.help
    files = InstructionFiles(path, skip_malformed=True)
    assert list(files) == list(files) == [PAIR, PAIR]
    assert (files.malformed, len(files.places)) == (1, 1)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,promtclen a', max_size=40).map(str.encode))
def test_no_line_breaks_the_reader(text: bytes) -> None:
    try:
        parse(text)
    except Malformed as error:
        assert str(error)


def test_a_directory_is_read_by_name_and_only_a_few_places_are_kept(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_bytes(b"".join(b"no\n" for _ in range(4)) + line(prompt=name, completion="c"))
    (tmp_path / "other.txt").write_text("no")
    files = InstructionFiles(tmp_path, skip_malformed=True)
    assert [talk[0].content for talk in files] == ["a.jsonl", "b.jsonl"]
    assert files.malformed == 8 and len(files.places) == 5 and "a.jsonl:1: " in files.places[0]


def test_a_line_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "MAX_LINE", 100)
    path = tmp_path / "long.jsonl"
    path.write_bytes(line(prompt="a" * 500, completion="a") + b"\n" + line(prompt="Say a.", completion="a"))
    files = InstructionFiles(path, skip_malformed=True)
    assert list(files) == [PAIR] and "long.jsonl:1: it is longer" in files.places[0]


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_without_a_file_there_are_no_instructions(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="holds no instructions") as refused:
        InstructionFiles(tmp_path / name)
    assert refused.value.help
