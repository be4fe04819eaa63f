"""Writes are whole or absent; a run directory has one owner; metrics survive a torn line."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs import files
from albor.runs.files import atomic_path, listing_digest, sha256_file, write_text
from albor.runs.manifest import load, run_id, save
from albor.runs.metrics import NAME, MetricsLog
from albor.runs.store import Store, disk_error, exclusive, writable

from .samples import manifest


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_write_is_never_seen_half(tmp_path: Path) -> None:
    """Killed at any moment, the file holds one of the two texts."""
    path = tmp_path / "file"
    write_text(path, "a" * 100_000)
    code = (
        "import sys; from pathlib import Path; from albor.runs.files import write_text\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for c in 'ab': write_text(Path(sys.argv[1]), c * 100_000)\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        for _ in range(200):
            text = path.read_text()
            assert text in ("a" * 100_000, "b" * 100_000)
        process.kill()
        process.wait()
        process.stdout.close()
        assert path.read_text() in ("a" * 100_000, "b" * 100_000)


def test_what_is_written_lies_beside_until_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced, real = tmp_path / "file", [], os.fsync

    def fsync(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, path.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".file.") and temporary.name.endswith(".tmp")
        temporary.write_bytes(b"whole")
        written = temporary.stat().st_ino
    assert synced == [(written, False), (tmp_path.stat().st_ino, True)], "the file, then its directory"
    assert path.read_bytes() == b"whole" and path.stat().st_ino == written
    assert path.stat().st_mode & 0o777 == 0o644, "others may read it"


@pytest.mark.usefixtures("other_encoding")
def test_text_is_in_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "é\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n"


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_a_hash_needs_memory_for_a_piece_of_the_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            read.append(size)
            return super().read(size)

    monkeypatch.setattr(files, "CHUNK", 4)
    monkeypatch.setattr(Path, "open", lambda path, mode: File(b"0123456789"))
    assert sha256_file(tmp_path / "file") == hashlib.sha256(b"0123456789").hexdigest()
    assert read == [4, 4, 4, 4]


def test_a_listing_is_names_sizes_and_times(tmp_path: Path) -> None:
    for name, text, when in (("b", "12345", 7), ("a", "", 5)):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, ns=(0, when))
    assert listing_digest(tmp_path, []) == hashlib.sha256().hexdigest()
    assert listing_digest(tmp_path, ["b", "a"]) == hashlib.sha256(b"b\x005\x007\na\x000\x005\n").hexdigest()


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    before = manifest(facts={"n": 1, "f": 0.1, "t": "½"}, error="line\nline")
    save(tmp_path, before)
    assert load(tmp_path) == before


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "schema: 99", "null", "\tx: 1", "schema: 1\n"])
def test_a_manifest_that_cannot_be_read_is_one_message(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text(text)
    with pytest.raises(AlborError) as refused:
        load(tmp_path)
    assert refused.value.help and refused.value.place


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(AlborError, match="no manifest"):
        load(tmp_path)


def test_one_process_holds_a_run(tmp_path: Path) -> None:
    second = exclusive(tmp_path / "run")
    with exclusive(tmp_path / "run"), pytest.raises(AlborError, match=f"pid {os.getpid()}"):
        second.__enter__()
    with exclusive(tmp_path / "run"):
        pass


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log({"step": 1, "loss": 2.5})
    with (tmp_path / NAME).open("a") as file:
        file.write('{"step": 2, "lo')
    with MetricsLog(tmp_path) as log:
        log({"step": 2, "loss": float("nan")})
    lines = (tmp_path / NAME).read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[0])["loss"] == 2.5
    assert json.loads(lines[2])["loss"] is None


def test_metrics_are_on_disk_as_they_are_logged(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for step in range(5):
            log({"step": step})
            assert len((tmp_path / NAME).read_text().splitlines()) == step + 1


def test_runs_are_found_by_any_name(tmp_path: Path) -> None:
    for id_, label in (("aaaa00000000", "x-y"), ("aaab00000000", "z")):
        directory = tmp_path / "pack" / f"{label}-{id_}"
        directory.mkdir(parents=True)
        save(directory, manifest(stage="pack", id=id_, label=label))
    store = Store(tmp_path)
    for name in ("aaaa", "x-y-aaaa00000000", "pack/x-y-aaaa00000000", str(tmp_path / "pack" / "x-y-aaaa00000000")):
        assert store.find(name).manifest.id == "aaaa00000000"
    with pytest.raises(AlborError, match="names 2 runs"):
        store.find("aaa")
    with pytest.raises(AlborError, match="no run 'bbb'"):
        store.find("bbb")
    assert store.directory("pack", "renamed", "aaaa00000000").name == "x-y-aaaa00000000"
    assert store.directory("pack", "new", "cccc00000000").name == "new-cccc00000000"


def test_ids_tell_every_part_apart() -> None:
    base = ("pack", 1, "{}", {"source": "1"}, {"rows": "a"})
    # fmt: off
    others = [("pac", 1, "{}", {"source": "1"}, {"rows": "a"}), ("pack", 2, "{}", {"source": "1"}, {"rows": "a"}),
              ("pack", 1, "{ }", {"source": "1"}, {"rows": "a"}), ("pack", 1, "{}", {}, {"rows": "a"}),
              ("pack", 1, "{}", {"source": "1"}, {"rows": "b"}), ("pack", 1, "{}", {"rows": "a"}, {"source": "1"})]
    # fmt: on
    assert len({run_id(*parts) for parts in (base, *others)}) == 7
    assert run_id(*base) == run_id(*base) and len(run_id(*base)) == 12


def test_what_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below" / "it", Path("/proc/runs")):
        with pytest.raises(AlborError, match="not a writable directory"):
            writable(place)
    writable(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "make it writable")])
def test_disk_errors_say_what_to_do(number: int, words: str) -> None:
    error = disk_error(OSError(number, os.strerror(number), "/x"), Path("y"))
    assert error.exit_code == 1 and words in str(error.help) and error.place == "/x"
