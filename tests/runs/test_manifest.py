"""Manifests: what is read, what is refused and in which words, and digests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from albor.errors import AlborError
from albor.runs import manifest as manifests
from albor.runs.manifest import (
    FileRef,
    InputRef,
    artifact_digest,
    artifact_files,
    load,
    read,
    run_id,
    save,
    to_yaml,
    verify,
)

from .samples import manifest

AGAIN = "remove the directory to build it again"
HELLO = hashlib.sha256(b"hello").hexdigest()


def refused(path: Path) -> tuple[str, str | None, str | None, int]:
    with pytest.raises(AlborError) as error:
        read(path)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return error.value.cause, error.value.help, error.value.place, error.value.exit_code


def test_a_directory_without_one_is_no_run(tmp_path: Path) -> None:
    expected = ("no manifest: not a run directory", "`albor runs` lists the runs", str(tmp_path), 2)
    assert refused(tmp_path / "manifest.yaml") == expected


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"a: [", "the manifest is not readable: while parsing a flow node"),
        (b"a: \xff", "the manifest is not readable: 'utf-8' codec can't decode byte 0xff in position 3"),
    ],
)
def test_one_that_is_no_yaml(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_bytes(content)
    said, *rest = refused(path)
    assert said.startswith(cause) and "\n" not in said
    assert rest == [AGAIN, str(path), 2]


@pytest.mark.parametrize(
    ("text", "schema"), [("schema: 99", "99"), ("schema: 0", "0"), ("[]", "None"), ("", "None"), ("stage: x", "None")]
)
def test_one_of_another_version(text: str, schema: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(text)
    fix = f"use the albor that made it, or {AGAIN}"
    assert refused(path) == (f"a manifest of schema {schema}; this albor reads 1", fix, str(path), 2)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"inputs": None}, "'NoneType' object has no attribute 'items'"),
        ({"inputs": {"rows": {"stage": "pack"}}}, "InputRef.__init__() missing 2 required keyword-only arguments"),
        ({"files": {"a": {"sha256": "0", "bytes": 1, "x": 1}}}, "FileRef.__init__() got an unexpected keyword"),
        ({"more": 1}, "albor.runs.manifest.Manifest() got an unexpected keyword argument"),
    ],
)
def test_one_that_is_not_whole(changes: dict[str, object], cause: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(to_yaml(manifest())) | changes))
    said, *rest = refused(path)
    assert said.startswith("the manifest is not whole: ") and cause.split("(")[-1] in said
    assert rest == [AGAIN, str(path), 2]


@pytest.mark.parametrize("name", ["inputs", "files", "stage"])
def test_one_that_lacks_a_field(name: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    fields = yaml.safe_load(to_yaml(manifest()))
    del fields[name]
    path.write_text(yaml.safe_dump(fields))
    said, *rest = refused(path)
    assert said.startswith("the manifest is not whole: ") and f"'{name}'" in said
    assert rest == [AGAIN, str(path), 2]


@pytest.mark.usefixtures("other_encoding")
def test_one_comes_back_with_its_inputs_and_files(tmp_path: Path) -> None:
    before = manifest(
        label="é",
        inputs={"rows": InputRef(stage="pack", id="feed", path="../p", digest="d1")},
        files={"model": FileRef(sha256="00", bytes=3)},
        stop_at=7,
    )
    save(tmp_path, before)
    assert load(tmp_path) == before == read(tmp_path / "manifest.yaml")
    unescaped = yaml.safe_dump(yaml.safe_load(to_yaml(before)), allow_unicode=True)
    (tmp_path / "manifest.yaml").write_bytes(unescaped.encode())
    assert load(tmp_path) == before


def test_what_it_looks_like() -> None:
    """People read it: the fields' order, one line where it fits."""
    text = to_yaml(manifest(facts={"b": 1, "a": 2}))
    assert text.startswith("schema: 1\nstage: prepare\nversion: 1\nid: 0123456789ab\nlabel: x\nstatus: planned\n")
    assert "facts:\n  b: 1\n  a: 2\n" in text
    assert max(map(len, to_yaml(manifest(error="word " * 100)).splitlines())) in range(110, 125)


def test_how_long_it_took() -> None:
    assert manifest(started=3.0, finished=5.5).seconds == 2.5
    assert manifest(started=0.0, finished=0.0).seconds == 0.0
    assert manifest(started=3.0).seconds is None
    assert manifest(finished=3.0).seconds is None
    assert manifest(started=0.0, finished=10.0, facts={"seconds": 500.0}).seconds == 500.0, "it was resumed"
    assert manifest(started=0.0, finished=510.0, facts={"seconds": 500.0}).seconds == 510.0


def test_a_status_and_what_changes_with_it() -> None:
    before = manifest()
    assert before.to("done", digest="d") == replace(before, status="done", digest="d")
    assert before.to("failed") == replace(before, status="failed")
    assert before.status == "planned"


def test_files_of_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "z").write_bytes(b"")
    (tmp_path / "deep" / "er" / "file").write_bytes(b"hello")
    (tmp_path / "a").write_bytes(b"hello")
    found = artifact_files(tmp_path)
    assert found == {
        "a": FileRef(sha256=HELLO, bytes=5),
        "deep/er/file": FileRef(sha256=HELLO, bytes=5),
        "z": FileRef(sha256=hashlib.sha256(b"").hexdigest(), bytes=0),
    }
    assert list(found) == ["a", "deep/er/file", "z"]
    assert artifact_files(tmp_path / "nothing") == {}


def test_the_digest_of_an_artifact_is_that_of_names_and_hashes() -> None:
    one, two = FileRef(sha256="01", bytes=1), FileRef(sha256="02", bytes=2)
    expected = hashlib.sha256(b'{"a": "01", "b": "02"}').hexdigest()
    assert artifact_digest({"a": one, "b": two}) == expected == artifact_digest({"b": two, "a": one})
    assert artifact_digest({"a": replace(one, bytes=9), "b": two}) == expected
    assert len({expected, artifact_digest({"a": two, "b": one}), artifact_digest({"a": one, "c": two})}) == 3
    assert artifact_digest({}) == hashlib.sha256(b"{}").hexdigest()


def test_ids_stay_what_they_are() -> None:
    """Runs are found again by them: another way to compute them would build everything anew."""
    listing = b'["pack", 2, "{}", {"a": "1", "b": "2"}, {"rows": "feed"}]'
    expected = hashlib.sha256(listing).hexdigest()[:12]
    assert run_id("pack", 2, "{}", {"b": "2", "a": "1"}, {"rows": "feed"}) == expected


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "the file is missing"), (b"hullo", "its bytes are not those that were written")]
)
def test_a_file_that_a_run_made_is_told_from_one_that_it_did_not(
    content: bytes | None, cause: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    verify(path, FileRef(sha256=HELLO, bytes=5))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AlborError) as error:
        verify(path, FileRef(sha256=HELLO, bytes=5))
    assert (error.value.cause, error.value.place) == (cause, str(path))
    assert error.value.help == "remove that run's directory to build it again"


def test_the_names_in_a_run_directory() -> None:
    """On disk since the first version."""
    assert (manifests.NAME, manifests.BASIS, manifests.SCHEMA) == ("manifest.yaml", "basis.json", 1)
