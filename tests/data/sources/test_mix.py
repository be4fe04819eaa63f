"""Several sources together, and what holds for every kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from albor.config.schema.sources import MixSource, Part, StdlibSource
from albor.data.errors import DataError
from albor.data.sources import fetch, fingerprint, tasks
from tests.data.sources.support import MAX, kept, local, put


def mix(**parts: Path) -> MixSource:
    return MixSource(parts={name: Part(source=local(root), copies=len(name)) for name, root in parts.items()})


def test_a_mix_reads_its_parts_in_order_and_says_whose_each_document_is(tmp_path: Path) -> None:
    put(tmp_path / "one", "a.py", b"one\n")
    put(tmp_path / "two", "a.py", b"two\n")
    source = mix(z=tmp_path / "one", aa=tmp_path / "two")
    fetch(source, lambda done, total, what: None)
    assert [(d.source, d.tier, d.copies, d.text) for d in kept(source)] == [("z", 0, 1, "one\n"), ("aa", 1, 2, "two\n")]


def test_a_mix_is_known_by_its_parts(tmp_path: Path) -> None:
    put(tmp_path / "one", "a.py")
    source = MixSource(parts={"std": Part(source=StdlibSource()), "own": Part(source=local(tmp_path / "one"))})
    assert fingerprint(source) == {
        **{f"std.{key}": value for key, value in fingerprint(StdlibSource()).items()},
        **{f"own.{key}": value for key, value in fingerprint(local(tmp_path / "one")).items()},
    }
    assert fingerprint(mix(gone=tmp_path / "nowhere")) == {"gone.listing": "missing"}


@pytest.mark.parametrize(("limit", "expected"), [(1, [1, 0]), (3, [2, 1]), (4, [2, 2]), (None, [5, 5])])
def test_the_parts_share_a_limit(tmp_path: Path, limit: int | None, expected: list[int]) -> None:
    for part in "ab":
        for number in range(5):
            put(tmp_path / part, f"{number}.py")
    found = [d.tier for d in kept(mix(a=tmp_path / "a", b=tmp_path / "b"), limit=limit)]
    assert [found.count(0), found.count(1)] == expected


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "one", "a.py")
    (tmp_path / "two").mkdir()
    with pytest.raises(DataError, match="two"):
        tasks(mix(a=tmp_path / "one", b=tmp_path / "two"), limit=None, max_characters=MAX)


def test_planning_loads_nothing_heavy() -> None:
    heavy = "pyarrow", "numpy", "torch", "tokenizers", "huggingface_hub", "httpx"
    code = (
        "import sys; from albor.data.sources import fingerprint; from albor.config.schema.sources import StdlibSource;"
        "print(fingerprint(StdlibSource())['python']);"
        f"print(*set({heavy}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [".".join(map(str, sys.version_info[:3])), ""]
