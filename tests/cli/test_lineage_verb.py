"""`albor lineage`: from a run to its sources and back, as text, JSON and a picture."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from albor.runs import manifest
from albor.runs.manifest import InputRef, load, save
from tests.conftest import Outcome
from tests.runs.stores import put

HOSTILE = '<script>alert(1)</script>"&\n\x1b[31m'
PINS = {f"p{n}": {"version": "1", "sha256": f"{n:064x}"} for n in range(300)}
SOURCES = {
    "kind": "mix",
    "parts": {
        "archives": {"source": {"kind": "pypi", "packages": PINS, "cache": "c"}, "copies": 1, "weight": None},
        "mine": {"source": {"kind": "local", "roots": ["src"], "licence": "MIT"}, "copies": 1, "weight": None},
        "set": {"source": {"kind": "hub", "repository": "org/set", "revision": "main"}, "copies": 1, "weight": None},
    },
}
ROWS = [
    {"source": source, "package": package, "version": "1", "licence": licence, "split": "train", "documents": 2,
     "bytes": 10, "tokens": 0}
    for source, package, licence in [("archives", f"p{n}", "MIT") for n in range(300)] + [("mine", HOSTILE, "ISC")]
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "outputs"
    corpus = put(root, "prepare", "aa00", config={"data": {"source": SOURCES}},
                 identity={"mine.listing": "e" * 64, "parser": "3.11", "benchmarks": "b" * 64},
                 facts={"commits": {"set": "c" * 40}})  # fmt: skip
    (corpus / "artifact" / "sources.json").write_text(json.dumps(ROWS))
    tokens = put(root, "tokenizer", "bb00", inputs={"documents": corpus})
    rows = put(root, "pack", "cc00", label="<b>&", inputs={"documents": corpus, "tokenizer": tokens})
    model = put(root, "pretrain", "dd00", inputs={"rows": rows, "tokenizer": tokens})
    made = load(model)
    given = {
        "teacher": InputRef(stage="hub", id="hf:org/model@v1", path="org/model@v1"),
        "init_from": InputRef(stage="files", id="files:123456789abc", path="/some/where/weights", digest="f" * 64),
    }
    save(model, replace(made, inputs={**made.inputs, **given}))
    put(root, "eval", "ee00", inputs={"model": model})
    return root


@pytest.fixture
def lineage(albor: Callable[..., Outcome], store: Path) -> Callable[..., Outcome]:
    return lambda *words: albor("lineage", *words, f"outputs={store}")


def test_everything_upstream_is_shown_once_down_to_the_sources(lineage, store: Path) -> None:
    done = lineage("ee00")
    assert done.code == 0
    for text in ("pack/<b>&-cc00", "tokenizer/x-bb00", "hub/org/model@v1",
                 "files/weights", "source/archives: 300 archives", "600 documents of 300 packages under MIT",
                 f"source/set: org/set@{'c' * 40}", "file/benchmarks", "ffffffffffff", "given"):  # fmt: skip
        assert text in done.out, text
    assert done.out.count("prepare/x-aa00") == 2 and done.out.count("prepare/x-aa00 (see above)") == 1
    assert done.out.count("source/mine") == 1 and "p299" not in done.out
    digest = load(store / "pretrain" / "x-dd00").digest
    assert digest is not None and digest[:12] in done.out and digest not in done.out
    assert digest in lineage("ee00", "--full").out


def test_all_archives_are_listed_when_all_are_asked_for(lineage) -> None:
    out = lineage("aa00", "--full").out
    assert all(f"p{n} 1 {n:064x}  MIT  2 documents  10 bytes" in out for n in range(300))
    assert "\x1b" not in out and "<script>" in out


def test_what_is_gone_is_said_with_the_digest_that_was_taken(lineage, store: Path) -> None:
    taken = load(store / "pack" / "<b>&-cc00").inputs["tokenizer"].digest
    shutil.rmtree(store / "tokenizer" / "x-bb00")
    out = lineage("cc00").out
    assert taken is not None
    assert re.search(rf"tokenizer/x-bb00 +{taken[:12]} +gone", out)


def test_an_input_that_is_another_by_now_is_said_to_be(lineage, store: Path) -> None:
    place = store / "tokenizer" / "x-bb00"
    taken = load(place).digest
    save(place, replace(load(place), digest="9" * 64))
    assert taken is not None
    for out in (lineage("cc00").out, lineage("bb00", "--down").out):
        assert f"it was {taken[:12]} when it was taken" in out


def test_downstream(lineage) -> None:
    out = lineage("bb00", "--down").out
    assert out.splitlines()[0].startswith("tokenizer/x-bb00") and "eval/x-ee00" in out and "prepare" not in out
    assert out.count("eval/x-ee00") == 1 and out.count("pretrain/x-dd00") == 2
    assert lineage("ee00", "--down").out.count("\n") == 1


def test_json_has_it_all(lineage) -> None:
    found = json.loads(lineage("ee00", "--json").out)
    by = {it["stage"]: it for it in found}
    assert by["eval"]["inputs"][0]["key"] == by["pretrain"]["key"] and by["eval"] == found[-1]
    archives = next(it for it in found if it["name"].startswith("archives"))
    assert len(archives["listing"]) == 300 and len(archives["digest"]) == 64


def test_the_picture_is_one_file_and_shows_markup_as_text(lineage, tmp_path: Path) -> None:
    done = lineage("ee00", "--svg", "out/lineage.svg")
    assert done.code == 0 and done.out == "" and "lineage.svg" in done.err
    text = (tmp_path / "out" / "lineage.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag.endswith("svg") and "<script" not in text and "<b>" not in text and "http" not in text[50:]
    assert str(tmp_path) not in text
    shown = "".join(root.itertext())
    assert all(word in shown for word in ("pretrain", "<b>&-cc00", "300 archives", "given"))


@pytest.mark.parametrize("words", [(), ("a", "b")])
def test_one_run_is_named(words: tuple[str, ...], lineage) -> None:
    done = lineage(*words)
    assert done.code == 2 and "takes one run" in done.err


def test_a_run_that_is_not_there(lineage) -> None:
    done = lineage("zzzz")
    assert done.code == 2 and "no run 'zzzz'" in done.err


def test_a_circle_that_somebody_wrote_ends(lineage, store: Path) -> None:
    place = store / "prepare" / "x-aa00"
    ref = InputRef(stage="eval", id="ee00", path="../../eval/x-ee00/artifact")
    save(place, replace(load(place), inputs={"x": ref}))
    assert lineage("ee00").code == 0 and lineage("ee00", "--down").code == 0
    assert manifest.load(place).inputs
