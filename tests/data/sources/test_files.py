"""JSONL and Parquet files: ranges, columns, and what is wrong with rows."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.schema.sources import FilesSource
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.sources import Rejected, fingerprint, read, tasks
from tests.data.sources.support import MAX, everything, kept, put, rejected


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def parquet(path: Path, rows: Sequence[Mapping[str, Any]], *, group: int = 2, schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=group)
    return path


def texts(count: int) -> list[dict[str, Any]]:
    return [{"text": f"text {number}\n", "id": number} for number in range(count)]


def source(*paths: object, **columns: str | None) -> FilesSource:
    return FilesSource(paths=tuple(map(str, paths)), **{"licence": "MIT", **columns})  # type: ignore[arg-type]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "a.jsonl": bytes,
    "a.json": bytes,
    "a.jsonl.gz": gzip.compress,
    "a.json.gz": gzip.compress,
    "a.jsonl.zst": zst,
    "two members.jsonl.gz": lambda content: gzip.compress(content[:30]) + gzip.compress(content[30:]),
    "two frames.jsonl.zst": lambda content: zst(content[:30]) + zst(content[30:]),
}


@pytest.mark.parametrize("name", PACKED)
def test_json_lines_are_read_however_packed(tmp_path: Path, name: str) -> None:
    file = put(tmp_path, name, PACKED[name](lines(*texts(3))))
    assert kept(source(file)) == [
        Document(f"text {number}\n", "files", place, "", place, "MIT")
        for number, place in enumerate((f"{name}:0", f"{name}:30", f"{name}:60"))
    ]


def test_parquet_is_read(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", texts(5))
    places = [f"a.parquet:{number}" for number in range(5)]
    assert kept(source(file)) == [
        Document(f"text {number}\n", "files", place, "", place, "MIT") for number, place in enumerate(places)
    ]


ROWS: list[dict[str, Any]] = [
    {"content": "a", "repo": "me/x", "file": "a.py", "licence": "apache-2.0"},
    {"content": "b", "repo": "me/x", "file": None, "licence": "Who knows"},
    {"content": "c", "repo": None, "file": "c.py", "licence": None},
]
COLUMNS = {
    "text": "content",
    "licence": None,
    "licence_column": "licence",
    "package_column": "repo",
    "path_column": "file",
}


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_columns_say_what_a_document_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "a.parquet":
        parquet(file, ROWS)
    else:
        put(tmp_path, name, lines(*ROWS))
    second, third = {"a.parquet": (1, 2), "a.jsonl": (len(lines(ROWS[0])), len(lines(*ROWS[:2])))}[name]
    assert [(d.text, d.package, d.path, d.licence) for d in kept(source(file, **COLUMNS))] == [
        ("a", "me/x", "a.py", "Apache-2.0"),
        ("b", "me/x", f"{name}:{second}", "unknown"),
        ("c", f"{name}:{third}", "c.py", "unknown"),
    ]


def test_lists_of_licences_all_hold(tmp_path: Path) -> None:
    licences: tuple[Any, ...] = (["MIT", "BSD-3-Clause"], ["MIT", "GPL-3.0"], [], None)
    rows: list[dict[str, Any]] = [{"text": "x", "l": each} for each in licences]
    for file in (parquet(tmp_path / "a.parquet", rows), put(tmp_path, "a.jsonl", lines(*rows))):
        found = [d.licence for d in kept(source(file, licence=None, licence_column="l"))]
        assert found == ["MIT", "GPL-3.0-only", "unknown", "unknown"]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_text_may_be_stored_in_any_way(tmp_path: Path, kind: pa.DataType) -> None:
    file = parquet(tmp_path / "a.parquet", [{"text": "é"}, {"text": None}], schema=pa.schema([("text", kind)]))
    assert [d.text for d in kept(source(file))] == ["é"]


# What is wrong with rows


def test_bad_lines_are_counted_and_their_neighbours_read(tmp_path: Path) -> None:
    bad = {
        b"{": "json",
        b"[1]": "json",
        b'"text"': "json",
        b"[" * 100_000: "json",
        b'{"text": 9' + b"9" * 5000 + b"}": "json",
        b'{"text": "caf\xe9"}': "encoding",
        b'{"text": "\\ud800"}': "encoding",
        b'{"text": null}': "no_text",
        b'{"other": "x"}': "no_text",
        b'{"text": ["x"]}': "no_text",
        b'{"text": "' + b"x" * 11 + b'"}': "too_long",
    }
    good = b'{"text": "ok"}'
    content = b"\xef\xbb\xbf" + good + b"\r\n \n\n" + b"".join(line + b"\n" + good + b"\n" for line in bad) + good
    found = source(put(tmp_path, "a.jsonl", content))
    assert [reason for _, reason in rejected(found, max_characters=10)] == list(bad.values())
    assert [d.text for d in kept(found, max_characters=10)] == ["ok"] * (len(bad) + 2)


def test_bad_rows_are_counted_and_their_neighbours_read(tmp_path: Path) -> None:
    values = pa.array([b"a", b"caf\xe9", None, b"x" * 11, b"x" * 41, "𝕏".encode() * 10])
    text = pa.Array.from_buffers(pa.string(), len(values), values.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    found = source(tmp_path / "a.parquet")
    assert [d.text for d in kept(found, max_characters=10)] == ["a", "𝕏" * 10]
    assert [r for _, r in rejected(found, max_characters=10)] == ["encoding", "no_text", "too_long", "too_long"]


def test_the_longest_text_fits_a_line_however_escaped(tmp_path: Path) -> None:
    row = json.dumps({"text": "𝕏" * 100_000, "other": "x" * 10_000}).encode()
    assert len(row) > 1_200_000
    assert len(kept(source(put(tmp_path, "a.jsonl", row)))[0].text) == 100_000


READ_APART = """
import resource, sys
from albor.config.schema.sources import FilesSource
from albor.data.sources import read, tasks
(task,) = tasks(FilesSource(paths=(sys.argv[1],), licence="MIT"), limit=9_999, max_characters=int(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for item in read(task): print(getattr(item, "reason", None) or item.text[:20])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def read_apart(path: Path, *, max_characters: int) -> tuple[list[str], int]:
    """What a process of its own reads (the start of each text, or the reason), and the bytes it grows by."""
    command = [sys.executable, "-c", READ_APART, str(path), str(max_characters)]
    *found, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return found, int(grown) * (1 if sys.platform == "darwin" else 1024)


def test_a_huge_line_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "before"}\n')
        file.seek(1 << 28, os.SEEK_CUR)  # sparse
        file.write(b'\n{"text": "after"}\n')
    found, grown = read_apart(tmp_path / "a.jsonl", max_characters=1_000)
    assert found == ["before", "too_long", "after"]
    assert grown < 64 << 20


def test_a_parquet_row_group_larger_than_memory_is_streamed(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(pa.table({"text": ["x" * 50_000] * 3_000}, schema=schema))  # 150 MB, one row group
    found, grown = read_apart(tmp_path / "a.parquet", max_characters=100_000)
    assert len(found) == 3_000
    assert grown < 64 << 20


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("packed", ["none", "zstd"])
def test_a_page_that_is_too_large_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str, dictionary: bool, version: str
) -> None:
    monkeypatch.setattr("albor.data.sources.parquet_rows.MAX_PAGE", 1 << 20)
    groups = (
        ["a", "b"],
        ["c", "x" * (2 << 20), "d"],
        ["e" * 200_000, *(f"{n}" * 200_000 for n in range(9))],
        ["y" * (2 << 20)],
    )
    schema = pa.schema([("text", pa.string()), ("tags", pa.list_(pa.string()))])
    file = tmp_path / "a.parquet"
    with pq.ParquetWriter(
        file,
        schema,
        compression=packed,
        use_dictionary=dictionary,
        data_page_version=version,
        data_page_size=1 << 18,
        dictionary_pagesize_limit=1 << 18,
        write_batch_size=1,
    ) as writer:
        for group in groups:
            writer.write_table(pa.table({"text": group, "tags": [["t"]] * len(group)}, schema=schema))
    found = everything(source(file), max_characters=250_000)
    assert [item.reason if isinstance(item, Rejected) else item.text[0] for item in found] == [
        *"ab",
        *["huge_page"] * 3,
        *"e012345678",
        "too_long",
    ]
    assert [item.path for item in found] == [f"a.parquet:{number}" for number in range(16)]


def test_a_damaged_page_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albor.data.sources.parquet_rows.MAX_PAGE", 1000)
    whole = parquet(tmp_path / "a.parquet", [{"text": os.urandom(2000).hex()} for _ in range(5)], group=5).read_bytes()
    for noise in (b"\xff" * 40, b"\x15\x00" * 20, b"\x1c" * 40, b"\x18\xff\xff\xff\x7f" * 8):
        file = put(tmp_path, "bad.parquet", whole[:4] + noise + whole[44:])
        with pytest.raises(DataError, match=r"bad\.parquet cannot be read as Parquet"):
            everything(source(file))


# What is wrong with files


@pytest.mark.parametrize("keep", [0, 3, 4, 100, -1])
def test_a_truncated_parquet_is_refused(tmp_path: Path, keep: int) -> None:
    whole = parquet(tmp_path / "whole.parquet", texts(50)).read_bytes()
    file = put(tmp_path, "cut.parquet", whole[:keep])
    with pytest.raises(DataError, match=r"cut\.parquet cannot be read as Parquet") as refused:
        everything(source(file))
    assert refused.value.help


def test_a_parquet_damaged_inside_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", [{"text": os.urandom(2000).hex()} for _ in range(50)], group=50)
    content = bytearray(file.read_bytes())
    content[4:60] = b"\xff" * 56
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        everything(source(file))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_truncated_compression_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    whole = PACKED[name](lines(*({"text": os.urandom(500).hex()} for _ in range(300))))
    file = put(tmp_path, name, whole[: int(keep * len(whole))])
    with pytest.raises(DataError, match=f"{name} cannot be read as JSON lines"):
        everything(source(file))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_what_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} cannot be read as"):
        everything(source(put(tmp_path, name, b"hello\n" * 100)))


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, name: str, limit: int | None
) -> None:
    parquet(tmp_path / "a.parquet", texts(3))
    put(tmp_path, "a.jsonl", lines(*texts(3)))
    for columns in ({"text": "content"}, {"package_column": "content"}, {"licence": None, "licence_column": "content"}):
        with pytest.raises(DataError, match=f"{name} has no column content; it has text, id") as refused:
            tasks(source(tmp_path / name, **columns), limit=limit, max_characters=MAX)
        assert "data.source.text" in str(refused.value.help)


def test_text_that_is_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column id is int64, not text"):
        everything(source(parquet(tmp_path / "a.parquet", texts(3)), text="id"))


def test_a_json_document_is_not_json_lines(tmp_path: Path) -> None:
    file = put(tmp_path, "a.json", json.dumps(texts(30), indent=1).encode())
    with pytest.raises(DataError, match=r"a\.json is not JSON lines: none of the first \d+ is an object"):
        tasks(source(file), limit=None, max_characters=MAX)


def test_an_empty_file_has_no_documents(tmp_path: Path) -> None:
    empty = parquet(tmp_path / "a.parquet", [], schema=pa.schema([("text", pa.string())]))
    assert everything(source(put(tmp_path, "a.jsonl", b""))) == []
    assert everything(source(put(tmp_path, "a.jsonl", b""), put(tmp_path, "b.jsonl.gz", gzip.compress(b"")))) == []
    assert everything(source(empty)) == []
    assert everything(source(empty), limit=3) == []


# Which files


def test_patterns_are_expanded_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/down/c.jsonl", "d.jsonl.gz"):
        put(tmp_path, name, (gzip.compress if name.endswith("gz") else bytes)(lines({"text": name})))
    (tmp_path / "e.jsonl").mkdir()
    assert [d.text for d in kept(source(tmp_path / "*.jsonl"))] == ["a.jsonl", "b.jsonl"]
    assert [d.path for d in kept(source(tmp_path / "**" / "*.jsonl"))] == [
        "a.jsonl:0",
        "b.jsonl:0",
        "deep/down/c.jsonl:0",
    ]
    assert [d.path for d in kept(source(tmp_path / "d*", tmp_path / "deep/*/c.jsonl", tmp_path / "a.jsonl"))] == [
        "0/d.jsonl.gz:0",
        "1/down/c.jsonl:0",
        "2/a.jsonl:0",
    ]


def test_a_name_may_look_like_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, "[1].jsonl", lines({"text": "x"}))
    assert [d.path for d in kept(source(tmp_path / "[1].jsonl"))] == ["[1].jsonl:0"]


def test_the_working_directory_and_home_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "data/a.jsonl", lines({"text": "x"}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = kept(source(tmp_path / "data/a.jsonl"))
    for pattern in ("data/a.jsonl", "data/*.jsonl", "~/data/a.jsonl", "./data/../data/a.jsonl"):
        assert kept(source(pattern)) == expected
    assert [d.path for d in kept(source("*/a.jsonl"))] == ["data/a.jsonl:0"]


def test_a_task_is_read_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "here/data/a.jsonl", lines({"text": "x"}))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    planned = [*tasks(source("data/*.jsonl"), limit=None, max_characters=MAX)]
    monkeypatch.chdir(tmp_path / "there")
    assert [item.path for task in planned for item in read(task)] == ["a.jsonl:0"]


@pytest.mark.parametrize(
    ("path", "message", "advice"),
    [
        ("d/**.parquet", r"d/\*\*\.parquet has \*\* within a name", r"\*\*/\*\.parquet"),
        ("~nobodyhere/a.jsonl", "~nobodyhere/a.jsonl begins with a home directory that is not known", "~/"),
    ],
)
def test_a_path_that_can_match_nothing_is_refused(path: str, message: str, advice: str) -> None:
    for use in (fingerprint, everything):
        with pytest.raises(DataError, match=message) as refused:
            use(source(path))
        assert re.search(advice, str(refused.value.help))


def test_a_file_may_have_two_stars_in_its_name(tmp_path: Path) -> None:
    assert len(kept(source(put(tmp_path, "a**.jsonl", lines({"text": "x"}))))) == 1


@pytest.mark.parametrize("pattern", ["nothing.jsonl", "*.parquet", "deep", "no/**/*.jsonl"])
def test_no_match_is_refused(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, "a.jsonl")
    put(tmp_path, "deep/notes.txt")
    found = source(tmp_path / "a.jsonl", tmp_path / pattern)
    with pytest.raises(DataError, match="no file matches") as refused:
        tasks(found, limit=None, max_characters=MAX)
    assert refused.value.help
    assert fingerprint(found) == {"listing": "missing"}


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    put(tmp_path, "README.md")
    with pytest.raises(DataError, match=r"README\.md .* is neither Parquet nor JSON lines"):
        tasks(source(tmp_path / "*"), limit=None, max_characters=MAX)


def test_a_file_that_went_away_is_refused(tmp_path: Path) -> None:
    found = source(put(tmp_path, "a.jsonl", lines(*texts(1))))
    (task,) = tasks(found, limit=None, max_characters=MAX)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"a\.jsonl cannot be opened: No such file"):
        list(read(task))


def test_fingerprint_follows_the_files_and_not_their_place(tmp_path: Path) -> None:
    put(tmp_path, "here/a.jsonl")
    first = fingerprint(source(tmp_path / "here" / "*.jsonl"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert fingerprint(source(tmp_path / "there" / "*.jsonl")) == first
    os.utime(tmp_path / "there" / "a.jsonl", ns=(1, 1))
    assert fingerprint(source(tmp_path / "there" / "*.jsonl")) != first


# How files become tasks


@given(
    rows=st.lists(st.text(max_size=30) | st.none(), max_size=12),
    ends=st.sampled_from(["\n", "\r\n", "\n\n"]),
    last=st.booleans(),
    size=st.integers(1, 80),
)
def test_every_line_is_read_once_wherever_a_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str | None], ends: str, last: bool, size: int
) -> None:
    content = ends.join(json.dumps({"text": row}, ensure_ascii=False) for row in rows) + ends * last
    file = put(tmp_path_factory.getbasetemp(), "ranges.jsonl", content.encode(errors="replace"))
    whole = everything(source(file), limit=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("albor.data.sources.base.TASK_BYTES", size)
        planned = tasks(source(file), limit=None, max_characters=MAX)
        assert [item for task in planned for item in read(task)] == whole
    assert len(planned) == -(-len(content.encode(errors="replace")) // size)
    assert len(whole) == len(rows)


@settings(max_examples=40)
@given(group=st.integers(1, 7), size=st.integers(1, 60), limit=st.integers(1, 25), count=st.integers(0, 20))
def test_parquet_is_cut_between_row_groups_and_to_the_row(
    tmp_path_factory: pytest.TempPathFactory, group: int, size: int, limit: int, count: int
) -> None:
    root = tmp_path_factory.getbasetemp()
    schema = pa.schema([("text", pa.string()), ("id", pa.int64())])
    rows = texts(count)
    parquet(root / "row groups" / "a.parquet", rows[: count // 3], group=group, schema=schema)
    parquet(root / "row groups" / "b.parquet", rows[count // 3 :], group=group, schema=schema)
    pattern = source(root / "row groups" / "*.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("albor.data.sources.base.TASK_BYTES", size)
        assert [d.text for d in kept(pattern)] == [row["text"] for row in rows]
        assert [d.text for d in kept(pattern, limit=limit)] == [row["text"] for row in rows[:limit]]


def test_big_files_become_several_tasks_and_small_ones_share_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("albor.data.sources.base.TASK_BYTES", 100)
    put(tmp_path, "a.jsonl", lines(*texts(10)))
    for name in ("b.jsonl", "c.jsonl"):
        put(tmp_path, name, lines(*texts(1)))
    put(tmp_path, "d.jsonl.gz", gzip.compress(lines(*texts(100))))
    found = source(tmp_path / "*")
    planned = tasks(found, limit=None, max_characters=MAX)
    assert [task.items for task in planned] == [
        ("0-100:a.jsonl",),
        ("100-200:a.jsonl",),
        ("200-300:a.jsonl",),
        ("0-30:b.jsonl", "0-30:c.jsonl", "0-:d.jsonl.gz"),
    ]
    assert len({task.digest for task in planned}) == 4
    os.utime(tmp_path / "d.jsonl.gz", ns=(1, 1))
    changed = tasks(found, limit=None, max_characters=MAX)
    assert [a.digest == b.digest for a, b in zip(planned, changed, strict=True)] == [True, True, True, False]


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 5)))
def test_documents_do_not_depend_on_how_pieces_are_grouped(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int]
) -> None:
    root = tmp_path_factory.getbasetemp() / "pieces"
    put(root, "a.jsonl", lines(*texts(4), {"text": 1}))
    put(root, "b.jsonl.gz", gzip.compress(lines(*texts(3))))
    parquet(root / "c.parquet", texts(4))
    (whole,) = tasks(source(root / "*"), limit=None, max_characters=MAX)
    items = ("0-30:a.jsonl", "30-60:a.jsonl", "60-:a.jsonl", "0-:b.jsonl.gz", "0-1:c.parquet", "1-2:c.parquet")
    edges = [0, *sorted(cuts), 6]
    pieces = [replace(whole, items=items[a:b]) for a, b in pairwise(edges)]
    assert [item for piece in pieces for item in read(piece)] == list(read(whole))


def test_a_limit_on_lines_counts_what_is_read_over_all_files(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", lines({"text": "1"}, {"text": None}))
    put(tmp_path, "b.jsonl.gz", gzip.compress(lines({"text": "3"}, {"text": "4"})))
    parquet(tmp_path / "c.parquet", texts(5))
    found = everything(source(tmp_path / "*"), limit=4)
    assert [item.text if isinstance(item, Document) else item.reason for item in found] == ["1", "no_text", "3", "4"]
    assert len(everything(source(tmp_path / "*"), limit=100)) == 9
    assert isinstance(found[1], Rejected)
