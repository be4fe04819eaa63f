"""What a task says of itself: equal for equal documents, wherever they lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from albor.config.schema.sources import Archive, FilesSource, HubSource, LocalSource, PypiSource
from albor.data.sources import Task, tasks
from tests.data.sources.support import MAX, local, put

LOCAL = LocalSource(roots=("/one",), licence="MIT")
FILES = FilesSource(paths=("/one/a.jsonl",), licence="MIT")
HUB = HubSource(repository="me/set", revision="0" * 40, licence="MIT")
PYPI = PypiSource(packages={"six": Archive(version="1", sha256="0" * 64)}, cache="/cache")
TASK = Task(source=LOCAL, name="local", items=("a//a.py",), digest="0", size=1, max_characters=9, limit=3)


def test_a_task_is_the_same_wherever_its_source_lies(tmp_path: Path) -> None:
    put(tmp_path, "here/src/a.py")
    (before,) = tasks(local(tmp_path / "here/src"), limit=None, max_characters=MAX)
    (tmp_path / "here").rename(tmp_path / "there")
    (after,) = tasks(local(tmp_path / "there/src"), limit=None, max_characters=MAX)
    assert before.identity() == after.identity()
    written = json.dumps(before.identity())
    assert json.loads(written) == before.identity()
    assert str(tmp_path) not in written


@pytest.mark.parametrize(
    ("source", "other"),
    [
        (LOCAL, replace(LOCAL, roots=("/two",))),
        (FILES, replace(FILES, paths=("/two/a.jsonl",))),
        (PYPI, replace(PYPI, cache="/other")),
        (PYPI, replace(PYPI, packages=PYPI.packages | {"seven": Archive(version="1", sha256="1" * 64)})),
    ],
)
def test_places_and_the_pins_of_other_tasks_are_no_part_of_it(source: Any, other: Any) -> None:
    assert replace(TASK, source=source).identity() == replace(TASK, source=other, size=7).identity()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"items": ("b//a.py",)},
        {"digest": "1"},
        {"limit": None},
        {"max_characters": 8},
        {"tier": 1},
        {"copies": 2},
        {"source": replace(LOCAL, licence="ISC")},
        {"source": replace(LOCAL, suffixes=(".pyi",))},
        {"source": FILES},
    ],
)
def test_whatever_determines_the_documents_is_part_of_it(change: dict[str, Any]) -> None:
    assert replace(TASK, **change).identity() != TASK.identity()


@pytest.mark.parametrize("source", [FILES, HUB])
@pytest.mark.parametrize("field", ["text", "licence", "licence_column", "package_column", "path_column"])
def test_columns_are_part_of_it(source: FilesSource | HubSource, field: str) -> None:
    changed: Any = replace(source, **{field: "other"})  # type: ignore[arg-type]
    assert replace(TASK, source=changed).identity() != replace(TASK, source=source).identity()


def test_the_commit_is_part_of_it() -> None:
    moved = replace(HUB, revision="1" * 40)
    assert replace(TASK, source=moved).identity() != replace(TASK, source=HUB).identity()
