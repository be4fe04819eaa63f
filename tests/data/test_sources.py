from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from albor.config.schema.data import LocalSource, StdlibSource
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.sources import Rejected, fingerprint, read


def local(*roots: Path) -> LocalSource:
    return LocalSource(roots=tuple(map(str, roots)), licence="MIT")


def put(root: Path, path: str, content: bytes = b"x = 1\n") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_stdlib_is_code_of_the_interpreter_without_its_tests() -> None:
    found = list(read(StdlibSource()))
    documents = {item.path: item for item in found if isinstance(item, Document)}
    assert len(documents) > 500
    assert [item.path for item in found] == sorted(item.path for item in found)
    assert documents["json/decoder.py"].package == "json"
    assert documents["textwrap.py"].package == "textwrap"
    assert {(d.licence, d.source) for d in documents.values()} == {("PSF-2.0", "stdlib")}
    parts = {part for path in documents for part in path.split("/")}
    assert not parts & {"site-packages", "test", "tests", "idle_test", "lib-dynload", "__pycache__"}
    assert not any(part.startswith(("_sysconfigdata", "config-")) for part in parts)


def test_local_source_walks_packages_and_skips_what_is_not_source(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in ("b/one.py", "a.py", "b/sub/two.py"):
        put(root, path)
    for path in ("venv/x.py", ".venv/x.py", "b/node_modules/x.py", "b/__pycache__/x.py", ".git/x.py", "b/notes.txt"):
        put(root, path)
    found = [item for item in read(local(root)) if isinstance(item, Document)]
    assert [(item.path, item.package, item.licence) for item in found] == [
        ("a.py", "a", "MIT"),
        ("b/one.py", "b", "MIT"),
        ("b/sub/two.py", "b", "MIT"),
    ]


def test_links_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    inside = put(root, "a/real.py")
    outside = put(tmp_path / "elsewhere", "secret.py")
    (root / "a" / "out.py").symlink_to(outside)
    (root / "a" / "in.py").symlink_to(inside)
    (root / "a" / "dangling.py").symlink_to(root / "nothing.py")
    (root / "linked").symlink_to(outside.parent, target_is_directory=True)
    assert [item.path for item in read(local(root))] == ["a/in.py", "a/real.py"]


def test_other_encodings_are_rejected_and_line_ends_stay(tmp_path: Path) -> None:
    put(tmp_path, "latin.py", "# café\n".encode("latin-1"))
    put(tmp_path, "marked.py", b"\xef\xbb\xbfx = 1\r\n")
    latin, marked = read(local(tmp_path))
    assert latin == Rejected("latin.py", "encoding")
    assert isinstance(marked, Document)
    assert marked.text == "x = 1\r\n"


def test_a_file_name_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    try:
        put(tmp_path, name)
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    assert [item.reason for item in read(local(tmp_path)) if isinstance(item, Rejected)] == ["encoding"]
    assert fingerprint(local(tmp_path))["listing"]


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere") as refused:
        list(read(local(tmp_path, tmp_path / "nowhere")))
    assert refused.value.help
    assert fingerprint(local(tmp_path, tmp_path / "nowhere")) == {"listing": "missing"}


def test_fingerprint_follows_the_files_and_not_their_place(tmp_path: Path) -> None:
    file = put(tmp_path / "here", "a.py")
    first = fingerprint(local(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert fingerprint(local(tmp_path / "there")) == first
    os.utime(tmp_path / "there" / file.name, ns=(1, 1))
    changed = fingerprint(local(tmp_path / "there"))
    assert changed != first
    put(tmp_path / "there", "notes.txt")
    assert fingerprint(local(tmp_path / "there")) == changed


def test_fingerprint_loads_nothing_heavy() -> None:
    code = (
        "import sys; from albor.data.sources import fingerprint; from albor.config.schema.data import StdlibSource;"
        "print(fingerprint(StdlibSource())['python']);"
        "sys.exit(bool({'pyarrow', 'numpy', 'torch', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ".".join(map(str, sys.version_info[:3]))
