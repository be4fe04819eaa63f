"""Whether sources are still what was prepared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from albor.config.schema.sources import Archive, FilesSource, LocalSource, MixSource, Part, PypiSource, StdlibSource
from albor.data import documents
from albor.data.documents import Document
from albor.data.sources import fingerprint
from albor.data.sources.present import Difference, differences

TEXTS = {"one/a.py": "a = 1\n", "one/b.py": "\ufeffb = 2\n", "two/c.py": "c = 3\r\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return tmp_path / "src"


def prepared(place: Path, name: str, texts: dict[str, str] = TEXTS) -> Path:
    place.mkdir()
    made = [Document(text.removeprefix("\ufeff"), name, path.split("/")[0], "", path, "MIT")
            for path, text in texts.items()]  # fmt: skip
    documents.write(place / "train-00000.parquet", made[:-1])
    documents.write(place / "val-00000.parquet", made[-1:])
    return place


def kinds(found) -> list[tuple[str, str]]:
    return [(it.kind, it.path) for it in found]


def test_a_directory_is_compared_by_text_and_not_by_time(root: Path, tmp_path: Path) -> None:
    source = LocalSource(roots=(str(root),), licence="MIT")
    identity, artifact = fingerprint(source), prepared(tmp_path / "artifact", "local")

    def look(*, quick: bool = False) -> list[Difference]:
        return list(differences(source, identity, artifact, read=3, quick=quick))

    assert look() == look(quick=True) == []
    os.utime(root / "one" / "a.py", (0, 0))
    assert look() == [] and kinds(look(quick=True)) == [("note", "local")]
    (root / "one" / "a.py").write_text("a = 2\n")
    os.utime(root / "one" / "a.py", (0, 0))
    (root / "two" / "c.py").unlink()
    assert kinds(look()) == [("changed", "one/a.py"), ("missing", "two/c.py")]
    for name in ("d", "e"):
        (root / "two" / f"{name}.py").write_text("d = 1\n")
    assert kinds(look())[-1] == ("added", "local")
    for path in root.rglob("*.py"):
        path.unlink()
    for directory in (root / "one", root / "two", root):
        directory.rmdir()
    assert kinds(look()) == [("note", "local")]


def test_one_bit_of_an_archive_is_found(tmp_path: Path) -> None:
    import hashlib

    content = b"an archive" * 100
    pins = {"some-package": Archive(version="1.0", sha256=hashlib.sha256(content).hexdigest())}
    source = PypiSource(packages=pins | {"Other": Archive(version="2", sha256="0" * 64)}, cache=str(tmp_path))
    path = tmp_path / f"some-package-1.0-{pins['some-package'].sha256[:16]}"
    path.write_bytes(content)
    assert kinds(differences(source, {}, tmp_path, read=None, quick=False)) == [("note", str(tmp_path))]
    path.write_bytes(b"X" + content[1:])
    assert kinds(differences(source, {}, tmp_path, read=None, quick=False))[0] == ("changed", str(path))
    assert kinds(differences(source, {}, tmp_path, read=None, quick=True)) == [("note", str(tmp_path))]


def test_parts_of_a_mix_and_files_of_rows(root: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "x"}\n')
    source = MixSource(
        parts={
            "mine": Part(source=LocalSource(roots=(str(root),), licence="MIT")),
            "rows": Part(source=FilesSource(paths=(str(rows),), licence="MIT")),
        }
    )
    identity, artifact = fingerprint(source), prepared(tmp_path / "artifact", "mine")
    assert list(differences(source, identity, artifact, read=None, quick=False)) == []
    rows.write_text('{"text": "another"}\n')
    (root / "one" / "a.py").write_text("b = 1\n")
    found = kinds(differences(source, identity, artifact, read=None, quick=False))
    assert found == [("changed", "one/a.py"), ("changed", "rows")]


def test_another_interpreters_library_is_not_compared(tmp_path: Path) -> None:
    identity = {"python": "3.0.0", "implementation": "CPython"}
    [found] = differences(StdlibSource(), identity, tmp_path, read=None, quick=False)
    assert found.kind == "note" and "3.0.0" in found.text
