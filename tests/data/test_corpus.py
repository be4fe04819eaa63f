from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.config.schema.data import Filters, LocalSource, StdlibSource
from albor.data import documents, sources
from albor.data.corpus import choose_validation, prepare
from albor.data.documents import Document
from albor.data.errors import DataError

CODE = "def add(first, second):\n    return first + second + {}\n\n\nprint(add(1, 2))\n"
SIZES = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 10_000), min_size=1, max_size=40)


def run(root: Path, out: Path, **changes: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    options: dict[str, Any] = {"filters": Filters(), "val_fraction": 0.2, "seed": 7, "max_documents": None}
    return prepare(LocalSource(roots=(str(root),), licence="MIT"), out=out, **(options | changes))


def contents(out: Path) -> dict[str, list[Document]]:
    return {split: list(documents.read(out / f"{split}.parquet")) for split in ("train", "val")}


def test_counts_are_conserved_and_reasons_named(tree: Path, tmp_path: Path) -> None:
    bad = tree / "bad"
    bad.mkdir()
    (bad / "latin.py").write_bytes("# café\n".encode("latin-1") + CODE.encode())
    (bad / "nul.py").write_text(CODE + "\0", encoding="utf-8")
    (bad / "short.py").write_text("x = 1\n", encoding="utf-8")
    (bad / "copy.py").write_bytes((tree / "package00" / "module0.py").read_bytes())
    seen: list[int] = []
    facts = run(tree, tmp_path / "out", progress=seen.append)
    assert facts["rejected"] == {"duplicate": 1, "encoding": 1, "syntax": 1, "too_short": 1}
    assert facts["read"] == 40 == sum(facts["documents"].values()) + sum(facts["rejected"].values())
    assert seen == list(range(1, 41))
    parts = contents(tmp_path / "out")
    assert facts["documents"] == {split: len(part) for split, part in parts.items()}
    assert facts["bytes"] == {split: sum(len(d.text.encode()) for d in part) for split, part in parts.items()}
    # Of the two equal files the one with the smaller path is kept.
    assert "bad/copy.py" in {d.path for part in parts.values() for d in part}


def test_packages_are_held_out_whole(tree: Path, tmp_path: Path) -> None:
    facts = run(tree, tmp_path / "out")
    parts = contents(tmp_path / "out")
    packages = {split: {d.package for d in part} for split, part in parts.items()}
    assert packages["train"] and packages["val"] and not packages["train"] & packages["val"]
    assert facts["packages"] == {"train": len(packages["train"]), "val": sorted(packages["val"])}


def test_two_runs_write_the_same_bytes_whatever_the_order(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "again.py").write_bytes((tree / "package00" / "module0.py").read_bytes())
    first = run(tree, tmp_path / "one")
    found = list(sources.read(LocalSource(roots=(str(tree),), licence="MIT")))

    def backwards(source: object) -> Iterator[Document | sources.Rejected]:
        return reversed(found)

    monkeypatch.setattr(sources, "read", backwards)
    assert run(tree, tmp_path / "two") == first
    for name in ("train.parquet", "val.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_corpus_of_one_text_keeps_one_document(tmp_path: Path) -> None:
    for number in range(5):
        file = tmp_path / "in" / f"p{number}" / "m.py"
        file.parent.mkdir(parents=True)
        file.write_text(CODE, encoding="utf-8")
    facts = run(tmp_path / "in", tmp_path / "out")
    assert facts["documents"] == {"train": 1, "val": 0}
    assert facts["rejected"] == {"duplicate": 4}
    assert [d.path for d in contents(tmp_path / "out")["train"]] == ["p0/m.py"]


@pytest.mark.parametrize("content", [None, b"x\n", b"\xff\xfe"])
def test_nothing_left_is_refused(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "in").mkdir()
    if content is not None:
        (tmp_path / "in" / "a.py").write_bytes(content)
    with pytest.raises(DataError) as refused:
        run(tmp_path / "in", tmp_path / "out")
    assert refused.value.help
    assert not list((tmp_path / "out").iterdir())


def test_max_documents_bounds_what_is_read(tree: Path, tmp_path: Path) -> None:
    facts = run(tree, tmp_path / "out", max_documents=6)
    assert facts["read"] == 6
    assert facts["packages"] == {"train": 1, "val": facts["packages"]["val"]}


def test_text_survives_the_file_exactly(tmp_path: Path) -> None:
    text = "x = '\u2028é🎉'\r\n# <|fim_prefix|>\f\n" + CODE
    (tmp_path / "a.py").write_bytes(text.encode())
    run(tmp_path, tmp_path / "out")
    (document,) = contents(tmp_path / "out")["train"]
    assert document.text == text


def test_the_standard_library(tmp_path: Path) -> None:
    facts = prepare(StdlibSource(), filters=Filters(), val_fraction=0.08, seed=0, max_documents=150, out=tmp_path)
    total = sum(facts["bytes"].values())
    assert 0.04 * total < facts["bytes"]["val"] <= 0.16 * total


@given(SIZES, st.floats(0, 1), st.integers(0, 99))
def test_validation_is_never_everything_nor_needlessly_nothing(
    sizes: dict[str, int], fraction: float, seed: int
) -> None:
    chosen = choose_validation(sizes, fraction=fraction, seed=seed)
    assert chosen < set(sizes)
    assert bool(chosen) == (len(sizes) > 1 and fraction > 0)
    assert chosen == choose_validation(dict(reversed(sizes.items())), fraction=fraction, seed=seed)
    if len(chosen) > 1:
        assert sum(sizes[name] for name in chosen) <= 2 * fraction * sum(sizes.values())


def test_one_huge_package_stays_in_training() -> None:
    sizes = {"huge": 10**9} | {f"p{number}": 10 for number in range(50)}
    for seed in range(20):
        assert "huge" not in choose_validation(sizes, fraction=0.1, seed=seed)


def test_the_seed_chooses() -> None:
    sizes = {f"p{number}": 10 for number in range(50)}
    choices = {frozenset(choose_validation(sizes, fraction=0.2, seed=seed)) for seed in range(10)}
    assert len(choices) == 10
    assert all(len(choice) == 10 for choice in choices)


def test_a_foreign_or_truncated_file_is_refused(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "out")
    whole = (tmp_path / "out" / "train.parquet").read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, tmp_path / "missing.parquet"):
        with pytest.raises(DataError) as refused:
            list(documents.read(path))
        assert path.name in str(refused.value)
        assert refused.value.help


def test_one_package_alone_is_split_by_file(tmp_path: Path) -> None:
    package = tmp_path / "tree" / "only"
    package.mkdir(parents=True)
    for number in range(12):
        (package / f"m{number}.py").write_text(CODE.format(number), encoding="utf-8")
    facts = run(tmp_path / "tree", tmp_path / "out")
    assert facts["documents"]["train"] > facts["documents"]["val"] > 0
    assert sum(facts["documents"].values()) == 12
    split = {k: {d.path for d in v} for k, v in contents(tmp_path / "out").items()}
    assert not split["train"] & split["val"]
