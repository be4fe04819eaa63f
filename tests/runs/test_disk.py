"""What is said of a disk that cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs.store import disk_error, writable, write_out, written_to


def test_a_place_where_runs_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlborError) as error:
        writable(tmp_path / "file" / "below" / "it")
    cause = f"{tmp_path}/file is not a writable directory: Not a directory"
    assert (error.value.cause, error.value.help, error.value.place) == (
        cause,
        "choose another: outputs=DIR",
        f"{tmp_path}/file/below/it",
    )


def test_the_nearest_place_that_exists_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Tried:
        def __init__(self, **options: object) -> None:
            tried.append(options)

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("albor.runs.store.TemporaryDirectory", Tried)
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path, tmp_path / "a" / "b", Path("a/b"), Path()):
        writable(place)
    places = [tmp_path, tmp_path, Path(), Path()]
    assert tried == [{"dir": place, "prefix": ".albor-"} for place in places]


SPACE = "free some space, or choose another directory: outputs=DIR; finished work is kept"
RIGHTS = "make it writable, or choose another directory: outputs=DIR"


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, SPACE),
        (errno.EDQUOT, SPACE),
        (errno.EACCES, RIGHTS),
        (errno.EROFS, RIGHTS),
        (errno.EPERM, RIGHTS),
        (errno.EIO, None),
    ],
)
def test_what_the_disk_said(number: int, fix: str | None) -> None:
    error = disk_error(OSError(number, "words", "/x"), Path("y"))
    assert (error.cause, error.help, error.place) == ("cannot read or write: words", fix, "/x")
    assert error.exit_code == 1 and AlborError("").exit_code == 2


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "free some space, or choose another place: --out DIR"),
        (errno.EACCES, "make it writable, or choose another place: --out DIR"),
        (errno.EFBIG, "choose another place: --out DIR"),
    ],
)
def test_what_the_disk_said_of_a_place_that_a_flag_names(number: int, fix: str, tmp_path: Path) -> None:
    with pytest.raises(AlborError) as caught, written_to(tmp_path, "--out DIR"):
        raise OSError(number, "words", "/x/.temporary")
    error = caught.value
    assert (error.cause, error.help, error.place) == ("cannot read or write: words", fix, str(tmp_path))
    assert error.exit_code == 1


def test_no_file_takes_the_place_of_something_else(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(AlborError, match="something that is no file") as caught:
            write_out(tmp_path / name, "text")
        assert caught.value.help == "choose another place: --out FILE"
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]
    write_out(tmp_path / "a/b", "text")
    assert (tmp_path / "a/b").read_text() == "text"


def test_a_disk_error_without_words_or_a_file() -> None:
    error = disk_error(OSError("it broke"), Path("y"))
    assert (error.cause, error.help, error.place) == ("cannot read or write: it broke", None, "y")
