"""Pinned archives: found on an index by SHA-256, verified, read in memory."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tarfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.schema.sources import Archive, PypiSource
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.sources import Rejected, fetch, fingerprint, read, tasks
from albor.plan.nodes import Planner
from tests.data.sources.server import Answer, Request, Server, serving
from tests.data.sources.support import MAX, everything, header, kept, rejected, tar_gz, zipped

METADATA = b"Metadata-Version: 2.4\nName: Demo.Project\nVersion: 1.0\nLicense-Expression: MIT\n\nText\n"
DEMO = tar_gz(
    ("demo_project-1.0/src/demo/a.py", b"a = 1\n"),
    ("demo_project-1.0/setup.py", b"setup()\n"),
    ("demo_project-1.0/README.md", b"# Demo\n"),
    ("demo_project-1.0/PKG-INFO", METADATA),
)
OTHER = zipped(("other-2.0/other.py", b"o = 1\n"), ("other-2.0/PKG-INFO", b"License: Apache 2.0\n\n"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def quiet(done: float, total: float, what: str) -> None:
    """No progress shown."""


@pytest.fixture(autouse=True)
def pip(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No configuration but the test's own, and a server on this machine is not asked through a proxy."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def source(tmp_path: Path) -> PypiSource:
    packages = {
        "Demo.Project": Archive(version="1.0", sha256=sha256(DEMO)),
        "other": Archive(version="2.0", sha256=sha256(OTHER)),
    }
    return PypiSource(packages=packages, cache=str(tmp_path / "cache"))


FILES = {"demo_project-1.0.tar.gz": DEMO, "other-2.0.zip": OTHER}


def html(request: Request) -> Answer | None:
    """PEP 503, with addresses relative to the page."""
    project = request.path.removeprefix("/simple/").strip("/")
    names = [name for name in FILES if name.startswith(project.replace("-", "_"))]
    links = [f'<a href="../../files/{name}#sha256={sha256(FILES[name])}">{name}</a>' for name in names]
    page = f"<!DOCTYPE html><title>Links</title><a href='../../files/demo-0.1.tar.gz'>old</a>{''.join(links)}"
    return Answer(page.encode(), headers={"Content-Type": "text/html"}) if names else None


def jsons(request: Request) -> Answer | None:
    """PEP 691."""
    assert "application/vnd.pypi.simple.v1+json" in request.headers["accept"]
    files = [{"filename": n, "url": f"/files/{n}", "hashes": {"sha256": sha256(c)}} for n, c in FILES.items()]
    return Answer(
        json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode(),
        headers={"Content-Type": "application/vnd.pypi.simple.v1+json"},
    )


def unhashed(request: Request) -> Answer | None:
    links = [f'<a href="/files/{name}#md5=0123">{name}</a>' for name in FILES]
    return Answer("".join(links).encode(), headers={"Content-Type": "text/html"})


@contextmanager
def index(pages=html, files: dict[str, bytes] | None = None) -> Iterator[Server]:
    held = FILES if files is None else files

    def answer(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if request.path.startswith("/files/") and name in held:
            return Answer(held[name])
        found = pages(request) if request.path.startswith("/simple/") else None
        return found or Answer(status=404)

    with serving(answer) as server:
        yield server


@pytest.mark.parametrize("pages", [html, jsons, unhashed])
def test_archives_are_found_by_their_hash_and_downloaded_once(
    source: PypiSource, pip: pytest.MonkeyPatch, pages: object
) -> None:
    seen: list[tuple[float, float, str]] = []
    with index(pages) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
        fetch(source, lambda *what: seen.append(what))
        asked = len(server.requests)
        fetch(source, quiet)
        assert len(server.requests) == asked == 4
    assert seen == [(1, 2, "archives"), (2, 2, "archives")]
    pip.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    fetch(source, quiet)
    assert {(d.package, d.version, d.path, d.licence, d.text) for d in kept(source)} == {
        ("demo-project", "1.0", "src/demo/a.py", "MIT", "a = 1\n"),
        ("demo-project", "1.0", "setup.py", "MIT", "setup()\n"),
        ("other", "2.0", "other.py", "Apache-2.0", "o = 1\n"),
    }


def test_extra_indexes_directories_and_a_users_own_file_are_looked_at(
    source: PypiSource, pip: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "other-2.0.zip").write_bytes(OTHER)
    (tmp_path / "index" / "demo-project").mkdir(parents=True)
    (tmp_path / "index" / "demo-project" / "demo_project-1.0.tar.gz").write_bytes(DEMO)
    with index(lambda request: None) as server:
        (tmp_path / "pip.conf").write_text(
            f"[global]\nindex-url = {server.url}/simple\ntimeout = 3\n"
            f"[download]\nfind_links =\n  {tmp_path}/links\n  {tmp_path}/nothing\n"
        )
        pip.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        pip.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "index").as_uri())
        fetch(source, quiet)
    assert {d.package for d in kept(source)} == {"demo-project", "other"}


def test_credentials_of_the_index_go_to_its_files_and_into_no_message(
    source: PypiSource, pip: pytest.MonkeyPatch
) -> None:
    with index(jsons, files={}) as server:
        pip.setenv("PIP_INDEX_URL", server.url.replace("//", "//me:s%40cret@") + "/simple")
        with pytest.raises(DataError) as refused:
            fetch(source, quiet)
    assert {b64decode(r.headers["authorization"].split()[1]) for r in server.requests} == {b"me:s@cret"}
    assert "cret" not in str(refused.value)
    assert "answers 404" in str(refused.value)


def test_another_archive_under_the_pinned_name_is_not_kept(
    source: PypiSource, pip: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with index(files={"demo_project-1.0.tar.gz": b"evil", "other-2.0.zip": OTHER}) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(DataError) as refused:
            fetch(source, quiet)
    assert str(refused.value) == (
        f"demo-project 1.0: the archive's SHA-256 is {sha256(b'evil')}, not the pinned {sha256(DEMO)}"
    )
    assert refused.value.help
    assert not [path for path in (tmp_path / "cache").iterdir() if b"evil" in path.read_bytes()]


def test_an_archive_that_the_index_does_not_have_is_refused_with_what_it_has(
    source: PypiSource, pip: pytest.MonkeyPatch
) -> None:
    wrong = replace(source, packages={"demo-project": Archive(version="1.0", sha256="0" * 64)})
    with index() as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(
            DataError, match=f"no package index has demo-project 1.0.* they have {sha256(DEMO)}"
        ) as refused:
            fetch(wrong, quiet)
    assert "data.source.packages.demo-project" in str(refused.value.help)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_remote_page_cannot_name_files_of_this_machine(
    source: PypiSource, pip: pytest.MonkeyPatch, tmp_path: Path, hashed: bool
) -> None:
    links = []
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        links.append((tmp_path / name).as_uri() + f"#sha256={sha256(content)}" * hashed)
    page = "".join(f'<a href="{link}">x</a>' for link in links).encode()
    with index(lambda request: Answer(page, headers={"Content-Type": "text/html"})) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(DataError, match="no package index has"):
            fetch(source, quiet)


@pytest.mark.parametrize("stated", [True, False])
def test_a_download_has_a_bound(source: PypiSource, pip: pytest.MonkeyPatch, stated: bool) -> None:
    most = min(map(len, FILES.values())) - 1
    pip.setattr("albor.data.sources.package_index.MAX_DOWNLOAD", 1 << 40 if stated else most)

    def answer(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        return Answer(FILES[name], length=1 << 41 if stated else None) if name in FILES else html(request) or Answer()

    with serving(answer) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(DataError, match=r"is larger than [\d,]+ bytes") as refused:
            fetch(source, quiet)
    assert refused.value.help
    assert not list(Path(source.cache).iterdir())


def test_a_download_that_breaks_off_is_tried_again(source: PypiSource, pip: pytest.MonkeyPatch) -> None:
    broken = set(FILES)

    def answer(request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if name in broken:
            broken.remove(name)
            return Answer(FILES[name][:100], length=len(FILES[name]))
        return Answer(FILES[name]) if name in FILES else jsons(request) or Answer(status=404)

    with serving(answer) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        fetch(source, quiet)
    assert not broken
    assert len(kept(source)) == 3


def test_offline_it_says_so(source: PypiSource, pip: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
        pip.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/simple")
        with pytest.raises(
            DataError, match=r"could not be downloaded: http://127\S+ cannot be reached \(.*refused\)"
        ) as refused:
            fetch(source, quiet)
    assert "PIP_INDEX_URL" in str(refused.value.help)


def test_an_index_that_is_none_is_refused(source: PypiSource, pip: pytest.MonkeyPatch) -> None:
    with serving(lambda request: Answer(b"{}", headers={"Content-Type": "application/json"})) as server:
        pip.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(DataError, match="is no page of a package index"):
            fetch(source, quiet)


def test_pip_without_an_index_asks_none(source: PypiSource, pip: pytest.MonkeyPatch) -> None:
    pip.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="no package index has"):
        fetch(source, quiet)


def test_a_configuration_that_is_none_is_refused(source: PypiSource, pip: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = https://example.org\n")
    pip.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(DataError, match=r"pip\.conf is no pip configuration"):
        fetch(source, quiet)
    (tmp_path / "pip.conf").write_text("[global]\ntimeout = soon\n")
    with pytest.raises(DataError, match="timeout is soon, not a number"):
        fetch(source, quiet)


# What an archive holds


def cached(tmp_path: Path, *packages: tuple[str, bytes]) -> PypiSource:
    """A source whose cache was filled by a local directory of archives."""
    links = tmp_path / "links"
    links.mkdir(exist_ok=True)
    for name, content in packages:
        (links / f"{name}-1.0.tar.gz").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(links))
        pins = {name: Archive(version="1.0", sha256=sha256(content)) for name, content in packages}
        source = PypiSource(packages=pins, cache=str(tmp_path / "cache"))
        fetch(source, quiet)
    return source


def project(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    return tar_gz(*entries, ("p-1.0/PKG-INFO", METADATA))


def test_members_that_lead_out_link_or_are_no_text_are_counted(tmp_path: Path) -> None:
    source = cached(
        tmp_path,
        (
            "p",
            project(
                ("p-1.0/a.py", b"a\n"),
                ("/etc/cron.py", b"evil\n"),
                ("../up.py", b"evil\n"),
                ("p-1.0/../../up.py", b"evil\n"),
                ("p-1.0/..\\up.py", b"evil\n"),
                header("p-1.0/out.py", tarfile.SYMTYPE, "/etc/passwd"),
                header("p-1.0/in.py", tarfile.LNKTYPE, "p-1.0/a.py"),
                header("p-1.0/null.py", tarfile.CHRTYPE),
                ("p-1.0/latin.py", "é".encode("latin-1")),
                ("p-1.0/marked.py", b"\xef\xbb\xbfm\r\n"),
            ),
        ),
    )
    assert [(d.path, d.text) for d in kept(source)] == [("a.py", "a\n"), ("marked.py", "m\r\n")]
    assert [reason for _, reason in rejected(source)] == ["unsafe_path"] * 4 + ["link", "link", "device", "encoding"]


def test_only_python_outside_of_skipped_directories_is_read(tmp_path: Path) -> None:
    names = (
        "x.py",
        "x.pyi",
        "venv/x.py",
        ".github/x.py",
        "a/node_modules/b/x.py",
        "tests/__pycache__/x.py",
        ".hidden.py",
    )
    source = cached(tmp_path, ("p", project(*((f"p-1.0/{name}", b"x\n") for name in names))))
    assert [d.path for d in kept(source)] == ["x.py"]


VENDORED = (
    "src/pip/_vendor/requests/api.py",
    "x/_vendored/click.py",
    "vendor/flask/app.py",
    "vendored-meson/meson/setup.py",
    "a/third_party/b/x.py",
    "thirdparty/x.py",
    "a/3rdparty/x.py",
    "astropy/extern/x.py",
    "sklearn/externals/x.py",
    "scipy/_external/x.py",
    "subprojects/x/x.py",
)


def test_no_copy_of_another_project_is_read(tmp_path: Path) -> None:
    """Not of a held-out one above all, and none under another licence."""
    own = ("a/external/x.py", "src/pip/__init__.py", "src/vendor.py")
    source = cached(tmp_path, ("pip", project(*((f"pip-1.0/{name}", b"x\n") for name in (*VENDORED, *own)))))
    assert [d.path for d in kept(source)] == list(own)


def test_a_huge_file_costs_nothing(tmp_path: Path) -> None:
    source = cached(
        tmp_path, ("p", project(("p-1.0/huge.py", b"x" * 41), ("p-1.0/data.bin", b"x" * 99), ("p-1.0/a.py", b"x" * 40)))
    )
    assert [d.path for d in kept(source, max_characters=10)] == ["a.py"]
    assert rejected(source, max_characters=10) == [("p/huge.py", "too_long")]


def test_a_bomb_is_refused_by_name(tmp_path: Path) -> None:
    source = cached(tmp_path, ("p", project(("p-1.0/zeros.bin", bytes(65 << 20)))))
    with pytest.raises(DataError, match=r"p-1\.0-\S+ unpacks to an absurd size"):
        everything(source)


def test_an_archive_damaged_in_the_cache_is_told_and_removed(tmp_path: Path) -> None:
    source = cached(tmp_path, ("p", project(("p-1.0/a.py", b"a\n"))))
    (file,) = (tmp_path / "cache").iterdir()
    good = file.read_bytes()
    file.write_bytes(good[:-1])
    with pytest.raises(
        DataError, match=f"p 1.0: the archive's SHA-256 is {sha256(good[:-1])}, not the pinned {sha256(good)}"
    ):
        everything(source)
    assert not file.exists()
    with pytest.raises(DataError, match="is not in"):
        tasks(source, limit=None, max_characters=MAX)


def test_the_licence_is_that_of_the_metadata_or_of_the_licence_file(tmp_path: Path) -> None:
    two_clauses = b"Redistribution and use in source and binary forms, with or without modification, are permitted"
    bsd = b"Classifier: License :: OSI Approved :: BSD License\n\n"
    source = cached(
        tmp_path,
        ("named", tar_gz(("named-1.0/a.py", b"a"), ("named-1.0/PKG-INFO", b"License: Apache 2.0\n\n"))),
        ("counted", tar_gz(("c-1.0/LICENSE.txt", two_clauses), ("c-1.0/a.py", b"a"), ("c-1.0/PKG-INFO", bsd))),
        ("silent", tar_gz(("s-1.0/a.py", b"a"), ("s-1.0/PKG-INFO", b"Name: silent\n\n"))),
        ("bare", tar_gz(("bare-1.0/a.py", b"a"))),
    )
    assert {d.package: d.licence for d in kept(source)} == {
        "named": "Apache-2.0",
        "counted": "BSD-2-Clause",
        "silent": "unknown",
        "bare": "unknown",
    }


# How an archive becomes tasks


def several(tmp_path: Path) -> PypiSource:
    return cached(
        tmp_path, *((f"p{n}", project((f"p-1.0/{n}.py", b"%d" % n), ("p-1.0/x.py", b"\xff"))) for n in range(5))
    )


@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 4)))
def test_documents_do_not_depend_on_how_archives_are_grouped(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int]
) -> None:
    (whole,) = tasks(several(tmp_path_factory.getbasetemp()), limit=None, max_characters=MAX)
    edges = [0, *sorted(cuts), 5]
    pieces = [replace(whole, items=whole.items[a:b]) for a, b in pairwise(edges)]
    assert [item for piece in pieces for item in read(piece)] == list(read(whole))


def test_a_limit_counts_what_is_read(tmp_path: Path) -> None:
    found = everything(several(tmp_path), limit=5)
    assert [isinstance(item, Document) for item in found] == [True, False, True, False, True]
    assert found[1] == Rejected("p0/x.py", "encoding")


def test_tasks_follow_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = several(tmp_path)
    monkeypatch.setattr("albor.data.sources.base.TASK_BYTES", 1)
    planned = tasks(source, limit=None, max_characters=MAX)
    assert [task.items for task in planned] == [(f"p{n}",) for n in range(5)]
    assert len({task.digest for task in planned}) == 5
    assert fingerprint(source) == {}


@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("../p", "1.0", "0" * 64),
        ("p", "../1.0", "0" * 64),
        ("p", "1.0", "0" * 63),
        ("p", "1.0", "../" + "0" * 61),
        ("", "1.0", "0" * 64),
    ],
)
def test_a_pin_that_would_be_a_path_is_refused(tmp_path: Path, name: str, version: str, digest: str) -> None:
    source = PypiSource(packages={name: Archive(version=version, sha256=digest)}, cache=str(tmp_path))
    for use in (lambda: fetch(source, quiet), lambda: tasks(source, limit=None, max_characters=MAX)):
        with pytest.raises(DataError, match=r"data\.source\.packages") as refused:
            use()
        assert refused.value.help


def test_one_package_twice_and_none_at_all_are_refused(tmp_path: Path) -> None:
    pin = Archive(version="1.0", sha256="0" * 64)
    with pytest.raises(DataError, match="is there twice"):
        fetch(PypiSource(packages={"a.b": pin, "A_B": pin}, cache=str(tmp_path)), quiet)
    with pytest.raises(DataError, match="empty"):
        tasks(PypiSource(packages={}, cache=str(tmp_path)), limit=None, max_characters=MAX)


def test_where_archives_are_kept_is_no_part_of_a_runs_id(planner: Planner) -> None:
    texts = ("stage=prepare", "data=pypi")
    (node,) = planner.plan(texts).nodes
    (elsewhere,) = planner.plan((*texts, "data.source.cache=elsewhere")).nodes
    (other,) = planner.plan((*texts, "data.source.packages.click.version='0'")).nodes
    assert node.id == elsewhere.id != other.id


def test_the_list_that_is_shipped_is_whole() -> None:
    shipped = yaml.safe_load((Path(__file__).parents[3] / "conf/data/pypi.yaml").read_text(encoding="utf-8"))
    pins = {name: Archive(**pin) for name, pin in shipped["source"]["packages"].items()}
    assert len(pins) >= 60
    assert set(shipped["held_out"]) < set(pins)
    assert all(isinstance(pin.version, str) for pin in pins.values())
    with pytest.raises(DataError, match="is not in nowhere"):
        tasks(PypiSource(packages=pins, cache="nowhere"), limit=None, max_characters=MAX)
