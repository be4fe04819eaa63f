"""What is said of a disk that cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.runs.store import disk_error, writable


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


def test_a_disk_error_without_words_or_a_file() -> None:
    error = disk_error(OSError("it broke"), Path("y"))
    assert (error.cause, error.help, error.place) == ("cannot read or write: it broke", None, "y")
