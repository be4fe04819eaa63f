"""The files of benchmarks: where they are looked for, and what is said of those that cannot be used."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from albor.config.schema.task import HubFiles, LmEval
from albor.errors import AlborError
from albor.evals import files

HUB = HubFiles(repo="org/set", files=("a.jsonl", "b.jsonl"))
ROW = {"task_id": "t/0", "prompt": "def f():"}


def spec(**more: Any) -> LmEval:
    return LmEval(task="piqa", **more)


def test_a_file_is_looked_for_here_below_the_directory_and_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    own = Path("mine.jsonl")
    assert files.local(spec(file="mine.jsonl"), "benchmarks") == Path("benchmarks/mine.jsonl")
    own.touch()
    assert files.local(spec(file="mine.jsonl"), "benchmarks") == own
    (tmp_path / "benchmarks/mine.jsonl").touch()
    assert files.local(spec(file="mine.jsonl"), "benchmarks") == Path("benchmarks/mine.jsonl")
    assert files.local(spec(hub=HUB), "benchmarks") is None
    assert files.local(spec(file="mine.jsonl", hub=HUB), None) == own
    assert files.local(spec(file="a.jsonl", hub=HUB), None) is None
    assert files.local(spec(file="gone.jsonl", hub=HUB, sha256="0" * 64), None) is None
    assert files.local(spec(file="gone.jsonl", hub=HUB), None) == Path("gone.jsonl")  # the Hub has not one's own file
    assert files.local(spec(file="gone.jsonl"), None) == Path("gone.jsonl")


def test_the_hubs_files_are_fetched_at_their_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repo: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append((repo, file, repo_type, revision))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert files.locate("t", spec(hub=HUB), None) == [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert asked == [("org/set", file, "dataset", "main") for file in HUB.files]


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object, **more: object) -> str:
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(AlborError, match=r"task t needs, cannot be fetched: no route to host$") as refused:
        files.locate("t", spec(hub=HUB), None)
    assert refused.value.code == "E-DATA" and "evals.data_dir=DIR" in str(refused.value.help)


def test_another_file_than_the_named_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x")
    right = hashlib.sha256(b"x").hexdigest()
    assert files.locate("t", spec(file="a.jsonl", sha256=right), str(tmp_path)) == [tmp_path / "a.jsonl"]
    with pytest.raises(AlborError, match=f"its SHA-256 is {right}") as refused:
        files.locate("t", spec(file="a.jsonl", sha256="0" * 64, source="the authors"), str(tmp_path))
    assert "get it again from the authors" in str(refused.value.help)


def test_every_format_is_read_the_same(tmp_path: Path) -> None:
    lines = f"{json.dumps(ROW)}\n\n{json.dumps(ROW)}\n".encode()
    made = {
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines, mtime=0),
        "a.jsonl.bz2": bz2.compress(b"\xef\xbb\xbf" + lines),
        "a.json": json.dumps([ROW, ROW]).encode(),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    pq.write_table(pa.Table.from_pylist([ROW, ROW]), tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert files.read([path]) == [ROW, ROW], path
    assert len(files.read(sorted(tmp_path.iterdir()))) == 10


def broken(data: bytes) -> bytes:
    """Compressed data with the same beginning and end, and other bytes between."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 8]) + data[middle + 8 :]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"{"),
        ("a.jsonl", b"3\n"),
        ("a.jsonl", b"[1]"),
        ("a.jsonl", b"\xff\xfe\xff"),
        ("a.json", b"{"),
        ("a.json", b'{"a": 1}'),
        ("a.jsonl.gz", b"no gzip"),
        ("a.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9]),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:20]),
        ("a.jsonl.gz", broken(gzip.compress(bytes(range(256)) * 40, mtime=0))),
        ("a.txt.bz2", broken(bz2.compress(bytes(range(256)) * 40))),
        ("a.parquet", b"PAR1"),
        ("a.parquet", b"no parquet"),
    ],
)
def test_what_holds_no_records_is_refused_by_name(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AlborError, match=f"{name} cannot be read") as refused:
        files.read([tmp_path / name])
    assert refused.value.code == "E-DATA"


@pytest.mark.parametrize(("row", "words"), [({"id": 1}, "no field 'prompt'"), ({"prompt": 1}, "'prompt' that is text")])
def test_a_record_of_another_format_is_refused_with_its_fields(row: files.Row, words: str) -> None:
    with pytest.raises(AlborError, match=words) as refused:
        files.field(row, "prompt", "t")
    assert f"its fields are {next(iter(row))}" in str(refused.value.help)
    assert files.field(ROW, "prompt", "t") == "def f():"


def test_a_file_that_is_not_there_is_said_with_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(AlborError, match=f"the file of task t is not there: {tmp_path / 'a.jsonl'}") as refused:
        files.locate("t", spec(file="a.jsonl", source="the authors", hub=HUB), str(tmp_path))
    assert refused.value.help == (
        "it comes from the authors; evals.data_dir=DIR names the directory that holds a.jsonl, "
        "or evals.data_dir=null fetches it from the Hub"
    )
