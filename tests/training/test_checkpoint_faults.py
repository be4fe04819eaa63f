"""Disks that flip bytes, fill up or refuse, and processes that are killed: no checkpoint is lost, no damage passes."""

import json
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from albor.training.checkpoint import Writer, load, load_latest, steps
from albor.training.errors import TrainingError

SAVER = Path(__file__).parent / "saver.py"
ROOT = Path(__file__).parents[2]
FILES = {"run.yaml": "seed: 1\n", "config.json": "{}\n", "tokenizer.json": "[1, 2, 3]\n"}


def writer(directory: Path) -> Writer:
    return Writer(directory, keep_last=3, keep_best=0, files=FILES)


def save(to: Writer, step: int, numbers: int = 300) -> None:
    torch.manual_seed(step)
    to.save({"w": torch.randn(numbers)}, {"w.m": torch.randn(numbers), "w.step": torch.tensor(step)}, {"step": step})


def newest(directory: Path) -> int:
    found = load_latest(directory)
    assert found is not None
    return int(found.state["step"])


# --- damage ---


def flip(path: Path, other: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def truncate(path: Path, other: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def empty(path: Path, other: Path, draw: random.Random) -> None:
    os.truncate(path, 0)


def lengthen(path: Path, other: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randrange(1, 9)))


def remove(path: Path, other: Path, draw: random.Random) -> None:
    path.unlink()


def swap_within(path: Path, other: Path, draw: random.Random) -> None:
    """With another file of the same checkpoint."""
    partner = draw.choice([p for p in path.parent.iterdir() if p != path])
    content = path.read_bytes()
    path.write_bytes(partner.read_bytes())
    partner.write_bytes(content)


def swap_across(path: Path, other: Path, draw: random.Random) -> None:
    """With the same file of an earlier checkpoint, where it differs."""
    names = [p.name for p in path.parent.iterdir() if (other / p.name).read_bytes() != p.read_bytes()]
    name = draw.choice(sorted(names))
    (path.parent / name).write_bytes((other / name).read_bytes())


DAMAGES = (flip, flip, flip, truncate, empty, lengthen, remove, swap_within, swap_across)


@pytest.mark.parametrize("cases", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_damage_is_seen_and_the_checkpoint_before_is_used(tmp_path, caplog, cases):
    with writer(tmp_path / "c") as to:
        for step in (1, 2, 3):
            save(to, step)
    latest, before = steps(tmp_path / "c")[:2]
    shutil.copytree(latest, tmp_path / "whole")
    draw = random.Random(7)
    caught = 0
    for _ in range(cases):
        damage = draw.choice(DAMAGES)
        path = latest / draw.choice(sorted(p.name for p in latest.iterdir()))
        damage(path, before, draw)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            fell_back = newest(tmp_path / "c") == 2
        with pytest.raises(TrainingError, match="damaged") as error:
            load(latest)
        named = "step-00000003 is damaged" in caplog.text and str(latest) in str(error.value)
        caught += fell_back and named and bool(error.value.help)
        shutil.rmtree(latest)
        shutil.copytree(tmp_path / "whole", latest)
    assert caught == cases
    assert newest(tmp_path / "c") == 3


def test_nothing_intact_is_an_error_not_a_new_start(tmp_path):
    with writer(tmp_path) as to:
        for step in (1, 2):
            save(to, step)
    for path in steps(tmp_path):
        (path / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"step-00000002: state\.json has .*step-00000001: state") as error:
        load_latest(tmp_path)
    assert str(tmp_path) in str(error.value.help)


# --- disks that refuse ---


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 256 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def refuses(to: Writer, step: int, numbers: int, message: str) -> None:
    """A save that does not reach the disk is told by whatever is called next, and leaves what was there."""
    for told in (to.wait, lambda: save(to, step)):
        save(to, step, numbers)
        with pytest.raises(OSError, match=message):
            told()
        to.wait()  # told once


def test_a_full_disk_loses_no_checkpoint_and_is_told(disk):
    with writer(disk / "c") as to:
        save(to, 1)
        refuses(to, 2, 40_000, "No space left")
        assert [path.name for path in (disk / "c").iterdir()] == ["step-00000001"]
        save(to, 2)
    assert newest(disk / "c") == 2


def test_a_disk_that_is_full_at_the_end_is_told_by_close(disk):
    to = writer(disk / "c")
    save(to, 1)
    to.wait()
    save(to, 2, 40_000)
    with pytest.raises(OSError, match="No space left"):
        to.close()
    with pytest.raises(OSError, match="No space left"), writer(disk / "c") as again:
        save(again, 2, 40_000)
    assert newest(disk / "c") == 1


def test_a_full_disk_does_not_hide_why_training_stopped(disk, caplog):
    with pytest.raises(TrainingError, match="the reason"), writer(disk / "c") as to:
        save(to, 2, 40_000)
        raise TrainingError("the reason", help="")
    assert "the last checkpoint was not written" in caplog.text and "No space left" in caplog.text


def test_a_file_that_may_not_grow_is_told(tmp_path):
    """The same without a file system of its own: a limit on the size of files."""
    with writer(tmp_path) as to:
        save(to, 1)
        to.wait()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            refuses(to, 2, 40_000, "too large")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert newest(tmp_path) == 1


def test_a_directory_that_is_not_writable_is_told(disk):
    with writer(disk / "c") as to:
        save(to, 1)
        to.wait()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refuses(to, 2, 300, "Read-only")
        with pytest.raises(OSError, match="Read-only"):
            to.scored(1, 2.0)
            to.wait()
    assert newest(disk / "c") == 1
    with pytest.raises(OSError, match="Read-only"):
        writer(disk / "new")


def test_a_directory_without_permission_is_told(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    with writer(tmp_path / "c") as to:
        save(to, 1)
        to.wait()
        (tmp_path / "c").chmod(0o500)
        refuses(to, 2, 300, "Permission denied")
        (tmp_path / "c").chmod(0o700)
    assert newest(tmp_path / "c") == 1


def test_the_temporary_directory_of_the_system_is_not_used(tmp_path, disk, monkeypatch):
    """It lies on another file system here, and that one is full."""
    (disk / "filler").write_bytes(b"x" * 256 * 1024)
    monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with writer(tmp_path / "c") as to:
        save(to, 1, 400_000)
        to.scored(1, 1.0)
    assert newest(tmp_path / "c") == 1 and [path.name for path in disk.iterdir()] == ["filler"]


# --- processes that are killed ---


@pytest.mark.parametrize("rounds", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_in_the_middle_of_saving_leaves_nothing_unloadable(tmp_path, rounds):
    command = [sys.executable, str(SAVER), str(tmp_path), str(rounds), "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["saved"] > 0 and (figures["cut_off"] > 0 or rounds == 6), "of six kills none may have been in time"
    assert [figures[k] for k in ("lost", "unloadable", "wrong", "left_over")] == [0, 0, 0, 0]
