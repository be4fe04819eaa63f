"""The standard library and local directories."""

from __future__ import annotations

import os
import pickle
import platform
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.schema.sources import LocalSource, StdlibSource
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.sources import Rejected, base, fingerprint, read, tasks
from albor.data.sources.base import TASK_BYTES
from albor.data.sources.grouping import group
from tests.data.sources.support import MAX, everything, kept, local, put, rejected


def test_stdlib_is_code_of_the_interpreter_without_its_tests() -> None:
    found = everything(StdlibSource())
    documents = {item.path: item for item in found if isinstance(item, Document)}
    assert len(documents) > 500
    assert [item.path for item in found] == sorted(item.path for item in found)
    assert documents["json/decoder.py"].package == "json"
    assert documents["textwrap.py"].package == "textwrap"
    assert {(d.licence, d.source, d.version) for d in documents.values()} == {
        ("PSF-2.0", "stdlib", platform.python_version())
    }
    parts = {part for path in documents for part in path.split("/")}
    assert not parts & {"site-packages", "test", "tests", "idle_test", "lib-dynload", "__pycache__"}
    assert not any(part.startswith(("_sysconfigdata", "config-")) for part in parts)


def test_local_source_walks_packages_and_skips_what_is_not_source(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in ("b/one.py", "a.py", "b/sub/two.py"):
        put(root, path)
    for path in ("venv/x.py", ".venv/x.py", "b/node_modules/x.py", "b/__pycache__/x.py", ".tox/x.py", "b/notes.txt"):
        put(root, path)
    assert [(d.path, d.package, d.licence, d.version) for d in kept(local(root))] == [
        ("a.py", "a", "MIT", ""),
        ("b/one.py", "b", "MIT", ""),
        ("b/sub/two.py", "b", "MIT", ""),
    ]


def test_copied_projects_are_left_out_unless_the_root_is_one(tmp_path: Path) -> None:
    root = tmp_path / "third_party" / "ours"
    for path in ("a.py", "b/vendored.py", "b/_vendor/requests/api.py", "extern/x.py"):
        put(root, path)
    assert [d.path for d in kept(local(root))] == ["a.py", "b/vendored.py"]


def test_suffixes_choose_the_files(tmp_path: Path) -> None:
    for path in ("a/one.py", "a/two.pyi", "a/three.txt", "four.tar.gz"):
        put(tmp_path, path)
    source = LocalSource(roots=(str(tmp_path),), licence="MIT", suffixes=(".pyi", ".txt"))
    assert [d.path for d in kept(source)] == ["a/three.txt", "a/two.pyi"]


def test_links_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    inside = put(root, "a/real.py")
    outside = put(tmp_path / "elsewhere", "secret.py")
    (root / "a" / "out.py").symlink_to(outside)
    (root / "a" / "in.py").symlink_to(inside)
    (root / "a" / "dangling.py").symlink_to(root / "nothing.py")
    (root / "linked").symlink_to(outside.parent, target_is_directory=True)
    assert [item.path for item in everything(local(root))] == ["a/in.py", "a/real.py"]


def test_a_root_may_itself_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "real", "a.py")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert [d.path for d in kept(local(tmp_path / "link"))] == ["a.py"]


def test_other_encodings_are_rejected_and_line_ends_stay(tmp_path: Path) -> None:
    put(tmp_path, "latin.py", "# café\n".encode("latin-1"))
    put(tmp_path, "marked.py", b"\xef\xbb\xbfx = 1\r\n")
    latin, marked = everything(local(tmp_path))
    assert latin == Rejected("latin.py", "encoding")
    assert isinstance(marked, Document)
    assert marked.text == "x = 1\r\n"


def test_a_file_name_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    try:
        put(tmp_path, name)
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    assert [reason for _, reason in rejected(local(tmp_path))] == ["encoding"]
    assert fingerprint(local(tmp_path))["listing"]


def test_what_must_be_too_long_is_not_read(tmp_path: Path) -> None:
    with put(tmp_path, "huge.py").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a reader would need a terabyte of memory
    put(tmp_path, "wide.py", "𝕏".encode() * 10)
    put(tmp_path, "wider.py", "𝕏".encode() * 11)
    source = local(tmp_path)
    assert rejected(source, max_characters=10) == [("huge.py", "too_long"), ("wider.py", "too_long")]
    assert [d.path for d in kept(source, max_characters=10)] == ["wide.py"]


def test_a_file_that_went_away_is_counted(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    put(tmp_path, "b.py")
    (task,) = tasks(local(tmp_path), limit=None, max_characters=MAX)
    (tmp_path / "a.py").unlink()
    gone, there = read(task)
    assert gone == Rejected("a.py", "unreadable")
    assert there.path == "b.py"


def test_two_roots_may_hold_the_same_path(tmp_path: Path) -> None:
    put(tmp_path / "one", "lib/a.py", b"one\n")
    put(tmp_path / "two", "lib/a.py", b"two\n")
    source = local(tmp_path / "one", tmp_path / "two")
    assert [(d.path, d.package, d.text) for d in kept(source)] == [
        ("0/lib/a.py", "one/lib", "one\n"),
        ("1/lib/a.py", "two/lib", "two\n"),
    ]
    before, known = kept(source), fingerprint(source)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "one").rename(tmp_path / "elsewhere" / "one")
    assert kept(local(tmp_path / "elsewhere" / "one", tmp_path / "two")) == before
    assert fingerprint(local(tmp_path / "elsewhere" / "one", tmp_path / "two")) == known


def test_packages_of_two_roots_are_told_apart_only_where_they_share_a_name(tmp_path: Path) -> None:
    for path in ("x/src/tests/a.py", "x/src/one/a.py", "y/src/tests/a.py", "y/src/tests.py", "z/lib/two/a.py"):
        put(tmp_path, path)
    assert [d.package for d in kept(local(tmp_path / "x/src", tmp_path / "z/lib"))] == ["one", "tests", "two"]
    source = local(tmp_path / "x/src", tmp_path / "y/src", tmp_path / "z/lib")
    assert [d.package for d in kept(source)] == ["one", "0-src/tests", "1-src/tests", "1-src/tests", "two"]


@pytest.mark.parametrize("marker", [".git/HEAD", "pyproject.toml", "setup.py"])
def test_a_project_is_one_package(tmp_path: Path, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("mine/tests/a.py", "mine/src/b.py", "other/tests/a.py"):
        put(tmp_path, path)
    before = fingerprint(local(tmp_path / "mine"))
    put(tmp_path / "mine", marker)
    monkeypatch.chdir(tmp_path / "mine")
    assert {d.package for d in kept(local(tmp_path / "mine"))} == {"mine"}
    assert fingerprint(local(tmp_path / "mine")) != before
    for root in (".", "src/..", "../mine/"):
        assert {d.package for d in kept(LocalSource(roots=(root,), licence="MIT"))} == {"mine"}
    both = kept(local(tmp_path / "mine", tmp_path / "other"))
    assert {d.package for d in both if d.path.startswith("0/")} == {"mine"}
    assert {d.package for d in both if d.path.startswith("1/")} == {"other/tests"}


def test_a_task_is_read_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "here/src/p/a.py")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (task,) = tasks(LocalSource(roots=("src",), licence="MIT"), limit=None, max_characters=MAX)
    monkeypatch.chdir(tmp_path / "there")
    assert [d.path for d in read(task)] == ["p/a.py"]


def test_a_root_that_is_not_there_when_it_is_read_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "src/a.py")
    (task,) = tasks(local(tmp_path / "src"), limit=None, max_characters=MAX)
    (tmp_path / "src").rename(tmp_path / "gone")
    with pytest.raises(DataError, match="src is not on this machine") as refused:
        list(read(task))
    assert "share" in str(refused.value.help)


def test_trouble_that_is_not_one_files_own_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    (task,) = tasks(local(tmp_path), limit=None, max_characters=MAX)
    (tmp_path / "a.py").unlink()
    (tmp_path / "a.py").symlink_to("a.py")
    with pytest.raises(DataError, match=r"a\.py cannot be read: Too many levels of symbolic links"):
        list(read(task))


def test_the_home_of_nobody_is_refused() -> None:
    source = LocalSource(roots=("~nobodyhere/src",), licence="MIT")
    for use in (fingerprint, everything):
        with pytest.raises(
            DataError, match="~nobodyhere/src begins with a home directory that is not known"
        ) as refused:
            use(source)
        assert refused.value.help


@pytest.mark.parametrize("use", [fingerprint, everything])
def test_a_directory_that_cannot_be_listed_is_refused(tmp_path: Path, use: Callable[[LocalSource], object]) -> None:
    put(tmp_path, "shut/a.py")
    (tmp_path / "shut").chmod(0)
    try:
        if os.access(tmp_path / "shut", os.R_OK):
            pytest.skip("this user may list everything")
        with pytest.raises(DataError, match="shut cannot be listed"):
            use(local(tmp_path))
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.py")
    source = local(tmp_path, tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere") as refused:
        tasks(source, limit=None, max_characters=MAX)
    assert refused.value.help
    assert fingerprint(source) == {"listing": "missing"}


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt")
    with pytest.raises(DataError, match=r"no file below .* ends in \.py") as refused:
        tasks(local(tmp_path), limit=None, max_characters=MAX)
    assert "suffixes" in str(refused.value.help)


def test_tasks_are_cut_by_size_in_listing_order(tmp_path: Path) -> None:
    for path in ("a.py", "b/1.py", "b/2.py", "c.py"):
        with put(tmp_path, path).open("r+b") as file:
            file.truncate(TASK_BYTES // 2)
    planned = tasks(local(tmp_path), limit=None, max_characters=MAX)
    assert [task.items for task in planned] == [("a//a.py", "b//b/1.py"), ("b//b/2.py", "c//c.py")]
    assert [task.size for task in planned] == [TASK_BYTES, TASK_BYTES]
    assert planned == tasks(local(tmp_path), limit=None, max_characters=MAX)
    assert pickle.loads(pickle.dumps(planned)) == planned
    first, second = planned
    os.utime(tmp_path / "c.py", ns=(1, 1))
    changed_first, changed_second = tasks(local(tmp_path), limit=None, max_characters=MAX)
    assert first == changed_first
    assert second.digest != changed_second.digest


def test_limit_cuts_the_listing(tmp_path: Path) -> None:
    for path in ("a.py", "b/1.py", "b/2.py", "c.py"):
        put(tmp_path, path)
    assert [d.path for d in kept(local(tmp_path), limit=3)] == ["a.py", "b/1.py", "b/2.py"]
    assert len(kept(local(tmp_path), limit=9)) == 4


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 7)))
def test_documents_do_not_depend_on_how_they_are_grouped(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int]
) -> None:
    root = tmp_path_factory.getbasetemp() / "grouped"
    for number in range(8):
        put(root, f"p{number % 3}/{number}.py", b"\xff" if number == 4 else b"x = %d\n" % number)
    (whole,) = tasks(local(root), limit=None, max_characters=MAX)
    edges = [0, *sorted(cuts), 8]
    pieces = [replace(whole, items=whole.items[a:b]) for a, b in pairwise(edges)]
    assert [item for piece in pieces for item in read(piece)] == list(read(whole))


@given(sizes=st.lists(st.integers(0, 30)), target=st.integers(1, 40))
def test_grouping_keeps_every_item_in_order_and_fills_every_group_but_the_last(sizes: list[int], target: int) -> None:
    items = [(str(place), size) for place, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "TASK_BYTES", target)
        groups = list(group(items))
    assert [name for names, _ in groups for name in names] == [name for name, _ in items]
    for names, filled in groups:
        assert filled == sum(sizes[int(name)] for name in names)
    assert all(filled >= target for _, filled in groups[:-1])
    assert all(filled - sizes[int(names[-1])] < target for names, filled in groups)


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
