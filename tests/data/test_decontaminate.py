from __future__ import annotations

import bz2
import gzip
import json
import lzma
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.benchmarks import fingerprint, load_items
from albor.data.decontaminate import Index
from albor.data.errors import DataError

# Made for these tests, in the formats that the benchmarks are published in.
DOCSTRING = (
    "Count the lighthouses whose lamp is brighter than the\n    faintest star seen from the pier at midnight.\n    "
)
PROMPT = f'from typing import List\n\n\ndef bright(lamps: List[int], star: int) -> int:\n    """ {DOCSTRING}"""\n'
SOLUTION = "    total = 0\n    for lamp in lamps:\n        if lamp > star:\n            total += 1\n    return total\n"
TEST = "def check(candidate):\n    assert candidate([3, 1, 2], 1) == 2\n    assert candidate([], 0) == 0\n"
EVAL = {"task_id": "Own/0", "prompt": PROMPT, "canonical_solution": SOLUTION, "test": TEST, "entry_point": "bright"}
CODE = "def ferry(tides):\r\n    crossing = set(tides)\r\n    crossing.clear()\r\n    return [t for t in crossing if t]"
QUESTION = "Write a function to list the tides that a ferry crosses in, the highest one first."
BODY = [
    "    buoys = []",
    "    for mark in chart:",
    "        buoys.append(mark.strip() or red)",
    "    return tuple(buoys)",
    "",
]
FILL = {"language": "py", "prompt": "def sound(chart):\n", "body": BODY}
STORY = """Harbour: A pilot climbs from a small boat onto the deck of a tanker. she
2
waves at the gulls that circle the mast before the fog comes in.
sings.
"""
SCRIPT = """def anchor(chain, depth):
    '''Let out three times as much chain as there is water below the keel.'''
    return chain - 3 * depth
"""
HOST = "\n".join(f"class Case{i}:\n    value_{i} = load({i!r}, path='p{i}')\n" for i in range(40))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmarks")
    files = {
        "own-eval/Own.jsonl.gz": gzip.compress(json.dumps(EVAL).encode() + b"\n", mtime=0),
        "own-basic/basic.jsonl": json.dumps(
            {"text": QUESTION, "code": CODE, "test_list": ["assert ferry([1, 0])"]}
        ).encode(),
        "own-fim/fim.json": json.dumps([FILL], indent=4).encode(),
        "own-story/story.txt.bz2": bz2.compress(STORY.encode()),
        "own-script/deep/er/script.py.xz": lzma.compress(SCRIPT.encode()),
        "README.md": PROMPT.encode(),
        "own-eval/LICENSE": b"All of the words in this licence may be used by everyone for every purpose.",
        ".cache/lock": b"\0\0",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def index(directory: Path) -> Index:
    return Index.build(directory)


ITEMS = {
    "prompt": (PROMPT, "own-eval"),
    "docstring": (DOCSTRING, "own-eval"),
    "solution": (SOLUTION, "own-eval"),
    "program": (PROMPT + SOLUTION, "own-eval"),
    "question": (QUESTION, "own-basic"),
    "code": (CODE, "own-basic"),
    "body": ("\n".join(BODY), "own-fim"),
    "story": (STORY.splitlines()[0], "own-story"),
    "ending": (STORY.splitlines()[2], "own-story"),
    "paragraph": (STORY, "own-story"),
    "script": (SCRIPT, "own-script"),
    "script's docstring": (SCRIPT.split("'''")[1], "own-script"),
}
DISGUISES: dict[str, Callable[[str], str]] = {
    "verbatim": lambda text: text,
    "indented": lambda text: textwrap.indent(text, "\t\t"),
    "crlf": lambda text: "\r\n".join(text.splitlines()),
    "upper": str.upper,
    "on one line": lambda text: " ".join(text.split()),
    "commented": lambda text: textwrap.indent(text, "# "),
    "between other code": lambda text: HOST + text + "\n" + HOST,
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("item", ITEMS)
def test_every_item_is_found_in_every_disguise(index: Index, item: str, disguise: str) -> None:
    text, benchmark = ITEMS[item]
    assert index.find(DISGUISES[disguise](text)) == benchmark


def test_everything_that_was_read_is_found(index: Index, directory: Path) -> None:
    texts = [(name, text) for name, text in load_items(directory) if len(text.split()) >= 10]
    assert {name for name, _ in texts} == {"own-eval", "own-basic", "own-fim", "own-story", "own-script"}
    assert [index.find(HOST + text) for _, text in texts] == [name for name, _ in texts]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        HOST,
        QUESTION.replace("ferry", "boat"),
        SOLUTION.replace("lamp", "candle"),
        " ".join(PROMPT.split()[5:]).replace("midnight", "noon"),
        "Words in this licence may be used by everyone for every purpose.",
    ],
)
def test_other_code_is_not_found(index: Index, text: str) -> None:
    assert index.find(text) is None


NUMBERED = [f"w{i}" for i in range(100)]


def in_memory(tmp_path: Path, *texts: str) -> Index:
    (tmp_path / "long.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return Index.build(tmp_path)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return in_memory(tmp_path_factory.mktemp("numbered"), " ".join(NUMBERED))


@given(st.integers(0, 70), st.integers(25, 35), st.lists(st.sampled_from(NUMBERED), max_size=40))
def test_thirty_words_in_a_row_are_a_part(numbered: Index, start: int, length: int, around: list[str]) -> None:
    run = NUMBERED[start : start + length]
    text = " ".join([*around, "other", *run, "other", *around])
    assert numbered.find(text) == ("long" if len(run) >= 30 else None)


def test_items_of_ten_words_count_and_of_nine_do_not(tmp_path: Path) -> None:
    index = in_memory(tmp_path, "one two three four five six seven eight nine ten", "a b c d e f g h i")
    assert index.find("zero one two three four five six seven eight nine ten eleven") == "long"
    assert index.find("two three four five six seven eight nine ten eleven") is None
    assert index.find("a b c d e f g h i") is None


def test_tables_of_numbers_prove_nothing(tmp_path: Path) -> None:
    counting = " ".join(map(str, range(60)))
    index = in_memory(tmp_path, counting, f"What comes next after {counting} if anything does?")
    assert index.find(f"days = [{counting}]") is None
    assert index.find(f"what comes next after {counting} if anything does") == "long"


def test_many_items_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    header = "import numpy as np import pandas as pd import matplotlib pyplot as plt"
    index = in_memory(tmp_path, *(f"{header} plot the {i} th{i} column" for i in range(200)))
    assert index.find(header) is None
    assert index.find(f"{header} plot the 7 th8 column") is None
    assert index.find(f"{header}\nplot the 7 th7 column") == "long"


def test_an_index_is_the_same_after_saving(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    for text, benchmark in ITEMS.values():
        assert loaded.find(HOST + text) == benchmark
    assert loaded.find(HOST) is None


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * 100])
def test_a_damaged_index_is_refused(index: Index, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "index"
    index.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="no index of benchmarks"):
        Index.load(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": "cut', "cannot read"),
        ("a.jsonl", b'{"text": "\xff"}', "cannot read"),
        ("a.json", b"[" * 100_000, "cannot read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "whole"}', mtime=0)[:-12], "cannot read"),
        ("a.jsonl.gz", b"not gzip", "cannot read"),
        ("a.txt.bz2", bz2.compress(b"whole")[:-4], "cannot read"),
        ("a.txt.xz", lzma.compress(b"whole")[:-4], "cannot read"),
        ("a.parquet", b"PAR1", "no kind of benchmark file"),
        ("data.gz", gzip.compress(b"what?", mtime=0), "no kind of benchmark file"),
        ("a.jsonl", b'{"text": "too few words"}', "has an item"),
        ("README.md", b"nothing but a readme", "no benchmark files"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        Index.build(tmp_path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no benchmark files"):
        Index.build(tmp_path / "nowhere")


def test_a_benchmark_that_is_called_like_a_notice_is_read(tmp_path: Path) -> None:
    (tmp_path / "notice-board.jsonl").write_text(json.dumps({"text": QUESTION}))
    (tmp_path / "LICENSE.txt").write_text(CODE)
    index = Index.build(tmp_path)
    assert index.find(QUESTION) == "notice-board"
    assert index.find(CODE) is None


def test_benchmarks_behind_a_link_are_read(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(directory / "own-eval")
    assert Index.build(tmp_path).find(PROMPT) == "linked"


def test_the_fingerprint_follows_names_and_bytes(tmp_path: Path) -> None:
    assert fingerprint(None) == {}
    missing = fingerprint(str(tmp_path / "nowhere"))
    (tmp_path / "a.jsonl").write_text("{}")
    seen = [missing, fingerprint(str(tmp_path))]
    (tmp_path / "README.md").write_text("about")
    assert fingerprint(str(tmp_path)) == seen[-1]
    (tmp_path / "a.jsonl").write_text("[]")
    seen.append(fingerprint(str(tmp_path)))
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    seen.append(fingerprint(str(tmp_path)))
    assert len({tuple(value.items()) for value in seen}) == len(seen)
