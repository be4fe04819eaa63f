from __future__ import annotations

import hashlib
import json
import random
import resource
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.config.schema.data import Data, Dedup
from albor.config.schema.run import LocalExecutor
from albor.config.schema.sources import FilesSource, LocalSource, MixSource, Part, StdlibSource
from albor.data import documents, tally
from albor.data import pack as pack_module
from albor.data.corpus import prepare
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.fim import FimMix
from albor.data.near import jaccard, shingles
from albor.data.parquet import shards
from albor.data.select import choose_validation
from albor.data.sources import base
from albor.data.tokenizer import Codec
from albor.executors import open_executor

CODE = "def add(first, second):\n    return first + second + {}\n\n\nprint(add(1, 2))\n"
SOLUTION = """\
    best = None
    for number in numbers:
        if best is None or number > best:
            best = number
    return best
"""
SIZES = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 10_000), min_size=1, max_size=40)


def local(root: Path) -> LocalSource:
    return LocalSource(roots=(str(root),), licence="MIT")


def run(
    source: Path | Any,
    out: Path,
    *,
    benchmarks: Path | None = None,
    seed: int = 7,
    workers: int = 1,
    work: Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    work = work or out / "work"
    options: dict[str, Any] = {"val_fraction": 0.2, "dedup": Dedup(near=False)} | changes
    data = Data(name="test", source=local(source) if isinstance(source, Path) else source, **options)
    with open_executor(LocalExecutor(workers=workers), directory=work) as executor:
        return prepare(data, benchmarks=benchmarks, seed=seed, out=out, work=work, executor=executor)


def contents(out: Path) -> dict[str, list[Document]]:
    return {split: [d for path in shards(out, split) for d in documents.read(path)] for split in ("train", "val")}


def statistics(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.is_file()}


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="")


def words(seed: int, count: int) -> str:
    """Python that shares no five words in a row with that of another seed."""
    rng = random.Random(seed)
    return "".join(f"name_{rng.randrange(10**9)} = call_{rng.randrange(10**9)}({line})\n" for line in range(count))


def test_counts_are_conserved_and_reasons_named(tree: Path, tmp_path: Path) -> None:
    bad = tree / "bad"
    bad.mkdir()
    (bad / "latin.py").write_bytes("# café\n".encode("latin-1") + CODE.encode())
    (bad / "nul.py").write_text(CODE + "\0", encoding="utf-8")
    (bad / "short.py").write_text("x = 1\n", encoding="utf-8")
    (bad / "copy.py").write_bytes((tree / "package00" / "module0.py").read_bytes())
    token = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=36))
    (bad / "key.py").write_text(CODE + f"TOKEN = 'ghp_{token}'\n", encoding="utf-8")
    facts = run(tree, tmp_path / "out")
    assert facts["read"] == 41 == sum(facts["documents"].values()) + sum(facts["rejected"].values())
    assert {"duplicate": 1, "encoding": 1, "syntax": 1, "too_short": 1}.items() <= facts["rejected"].items()
    parts = contents(tmp_path / "out")
    assert facts["documents"] == {split: len(part) for split, part in parts.items()}
    assert facts["bytes"] == {split: sum(len(d.text.encode()) for d in part) for split, part in parts.items()}
    steps = statistics(tmp_path / "out", "steps")
    assert [step["name"] for step in steps] == [
        *("ingest", "licence", "basic", "syntax", "secrets", "exact", "near", "benchmarks", "weights")
    ]
    for step in steps:
        assert step["taken"] == step["kept"] + sum(step["rejected"].values())
    assert [step["taken"] for step in steps[1:]] == [step["kept"] for step in steps[:-1]]
    assert sum(steps[4]["rejected"].values()) == 1
    assert steps[-1]["bytes_kept"] == sum(facts["bytes"].values())
    assert sum(row["documents"] for row in statistics(tmp_path / "out", "sources")) == steps[-1]["kept"]
    lengths = statistics(tmp_path / "out", "lengths")
    assert (sum(lengths["train"]), sum(lengths["val"])) == tuple(facts["documents"].values())


def test_packages_are_held_out_whole(tree: Path, tmp_path: Path) -> None:
    facts = run(tree, tmp_path / "out")
    packages = {split: {d.package for d in part} for split, part in contents(tmp_path / "out").items()}
    assert packages["train"] and packages["val"] and not packages["train"] & packages["val"]
    assert facts["packages"] == {split: len(names) for split, names in packages.items()}
    assert facts["held_out"] == sorted(packages["val"])


def test_named_packages_are_held_out(tree: Path, tmp_path: Path) -> None:
    facts = run(tree, tmp_path / "out", held_out=("package03", "package07"))
    assert facts["held_out"] == ["package03", "package07"]
    assert {d.package for d in contents(tmp_path / "out")["val"]} == {"package03", "package07"}
    with pytest.raises(DataError, match="pakage03") as refused:
        run(tree, tmp_path / "typo", held_out=("pakage03",))
    assert refused.value.help


def test_what_validates_outlives_its_copies_in_training(tree: Path, tmp_path: Path) -> None:
    """Whatever else is trained on, the measure stays."""
    before = {d.sha256 for d in contents_of(tree, tmp_path / "a")["val"]}
    for number in range(3):
        put(tree, f"aaa{number}/copy.py", (tree / "package03" / f"module{number}.py").read_text(encoding="utf-8"))
    after = contents_of(tree, tmp_path / "b")
    assert {d.sha256 for d in after["val"]} == before
    assert not any(d.package.startswith("aaa") for d in after["train"])


def contents_of(tree: Path, out: Path) -> dict[str, list[Document]]:
    run(tree, out, held_out=("package03",))
    return contents(out)


@pytest.mark.parametrize(("workers", "task_bytes"), [(1, 4_000), (2, 4_000), (1, 10**9)])
def test_survivors_depend_on_neither_workers_nor_parts(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, task_bytes: int
) -> None:
    put(tree, "zzz/again.py", (tree / "package00" / "module0.py").read_text(encoding="utf-8"))
    first = run(tree, tmp_path / "one", dedup=Dedup())
    monkeypatch.setattr(base, "TASK_BYTES", task_bytes)
    assert run(tree, tmp_path / "two", dedup=Dedup(), workers=workers) == first
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {s: sorted(d.sha256 for d in part) for s, part in one.items()} == {
        s: sorted(d.sha256 for d in part) for s, part in two.items()
    }


def test_any_number_of_workers_writes_the_same_bytes(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TASK_BYTES", 4_000)
    run(tree, tmp_path / "one", workers=1)
    run(tree, tmp_path / "two", workers=2)
    assert len(shards(tmp_path / "one", "train")) > 3
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_corpus_of_one_text_keeps_one_document(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / "in", f"p{number}/m.py", CODE)
    facts = run(tmp_path / "in", tmp_path / "out")
    assert facts["documents"] == {"train": 1, "val": 0}
    assert facts["rejected"] == {"duplicate": 4}


def test_near_duplicates_leave_one_and_no_pair_straddles_the_splits(tmp_path: Path) -> None:
    for package in range(20):
        body = words(package, 60)
        for copy in range(3):
            put(tmp_path / "in", f"p{package:02}/m.py" if copy == 0 else f"q{copy}{package:02}/m.py",
                body + f"extra_{copy} = {copy}\n" * copy)  # fmt: skip
    facts = run(tmp_path / "in", tmp_path / "out", dedup=Dedup(), val_fraction=0.3)
    assert facts["rejected"] == {"near_duplicate": 40}
    parts = contents(tmp_path / "out")
    for one in parts["train"]:
        for other in parts["val"]:
            assert jaccard(shingles(one.text, 5), shingles(other.text, 5)) < 0.7


def test_the_survivor_is_of_the_lower_tier(tmp_path: Path) -> None:
    body = words(1, 40)
    put(tmp_path / "a", "pkg/same.py", body)
    put(tmp_path / "b", "pkg/same.py", body)
    put(tmp_path / "b", "pkg/similar.py", body + "more = 1\n")
    put(tmp_path / "b", "other/different.py", words(2, 40))
    for order in (("a", "b"), ("b", "a")):
        parts = {name: Part(source=local(tmp_path / name), copies=10 if name == order[0] else 1) for name in order}
        out = tmp_path / "out" / order[0]
        run(MixSource(parts=parts), out, dedup=Dedup(), val_fraction=0.0)
        kept = [d for part in contents(out).values() for d in part if d.text.startswith(body)]
        assert [d.source for d in kept] == [order[0]]
        assert kept[0].copies == 10


def test_weights_thin_out_what_is_too_much(tmp_path: Path) -> None:
    for number in range(100):
        put(tmp_path / "code", f"c{number}/m.py", words(number, 30))
        put(tmp_path / "prose", f"t{number}/m.py", words(1000 + number, 30))
    parts = {
        "code": Part(source=local(tmp_path / "code"), weight=0.8),
        "prose": Part(source=local(tmp_path / "prose"), weight=0.2),
    }
    facts = run(MixSource(parts=parts), tmp_path / "out")
    train = contents(tmp_path / "out")["train"]
    sizes = {name: sum(len(d.text) for d in train if d.source == name) for name in parts}
    assert sizes["code"] / sum(sizes.values()) == pytest.approx(0.8, abs=0.02)
    assert set(facts["rejected"]) == {"surplus"}


def test_benchmarks_are_kept_out(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    item = {"task_id": "Max/0", "prompt": "def solve(numbers):\n", "canonical_solution": SOLUTION}
    (tmp_path / "bench" / "Max.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    indented = "".join(f"    {line}\n" for line in SOLUTION.splitlines())
    put(tree, "leak/a.py", "import os\n\n\ndef other(numbers):\n" + indented)
    facts = run(tree, tmp_path / "out", benchmarks=tmp_path / "bench")
    (reason,) = set(facts["rejected"]) - {"duplicate"}
    assert "Max" in reason and facts["rejected"][reason] == 1
    assert not any(d.package == "leak" for part in contents(tmp_path / "out").values() for d in part)


def test_a_word_cap_is_kept(tree: Path, tmp_path: Path) -> None:
    facts = run(tree, tmp_path / "a", max_words=10**6)
    count = sum(len(d.text.split()) for d in contents(tmp_path / "a")["train"])
    assert facts["words"]["train"] == count
    with pytest.raises(DataError, match="words"):
        run(tree, tmp_path / "b", max_words=count - 1)


@pytest.mark.parametrize("content", [None, b"x\n", b"\xff\xfe"])
def test_nothing_left_is_refused(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "in").mkdir()
    if content is not None:
        (tmp_path / "in" / "a.py").write_bytes(content)
    with pytest.raises(DataError) as refused:
        run(tmp_path / "in", tmp_path / "out", work=tmp_path / "work")
    assert refused.value.help
    assert not list((tmp_path / "out").iterdir())


def test_max_documents_bounds_what_is_read(tree: Path, tmp_path: Path) -> None:
    assert run(tree, tmp_path / "out", max_documents=6)["read"] == 6


def test_text_survives_the_file_exactly(tmp_path: Path) -> None:
    text = "x = '\u2028é🎉'\r\n# <|fim_prefix|>\f\n" + CODE
    put(tmp_path / "in", "a.py", text)
    run(tmp_path / "in", tmp_path / "out")
    (document,) = contents(tmp_path / "out")["train"]
    assert document.text == text


def test_the_standard_library(tmp_path: Path) -> None:
    facts = run(StdlibSource(), tmp_path, val_fraction=0.08, seed=0, max_documents=150, dedup=Dedup())
    total = sum(facts["bytes"].values())
    assert 0.03 * total < facts["bytes"]["val"] <= 0.16 * total


def test_finished_parts_are_kept_and_a_rerun_writes_the_same(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TASK_BYTES", 4_000)
    work = tmp_path / "work"
    first = run(tree, tmp_path / "one", work=work)
    made = {path: path.stat().st_mtime_ns for path in work.glob("*/*/manifest.json")}
    victim, *others = sorted(made)
    next(victim.parent.glob("*.parquet")).unlink()  # what is not whole is made again
    assert run(tree, tmp_path / "two", work=work) == first
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert all(path.stat().st_mtime_ns == made[path] for path in others)


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
    whole = shards(tmp_path / "out", "train")[0].read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, tmp_path / "missing.parquet"):
        with pytest.raises(DataError) as refused:
            list(documents.read(path))
        assert path.name in str(refused.value)
        assert refused.value.help


def test_one_package_alone_is_split_by_file(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path / "tree", f"only/m{number}.py", CODE.format(number))
    facts = run(tmp_path / "tree", tmp_path / "out")
    assert facts["documents"]["train"] > facts["documents"]["val"] > 0
    assert sum(facts["documents"].values()) == 12
    split = {k: {d.path for d in v} for k, v in contents(tmp_path / "out").items()}
    assert not split["train"] & split["val"]


def test_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "in", f"only/m{number}.py", CODE.format(number))
    with pytest.raises(DataError, match="train on"):
        run(tmp_path / "in", tmp_path / "out", held_out=("only",))


def test_one_endless_name_costs_no_more_than_itself(tmp_path: Path) -> None:
    rows = [{"text": CODE.format(n), "repo": "x" * 200_000 if n == 7 else f"r{n % 50}"} for n in range(2_000)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = run(FilesSource(paths=(str(path),), licence="MIT", package_column="repo"), tmp_path / "out")
    assert facts["read"] == 2_000


def test_a_source_of_very_many_packages_is_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "LISTED_PACKAGES", 10)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": CODE.format(n)}) + "\n" for n in range(200)), encoding="utf-8")
    facts = run(FilesSource(paths=(str(path),), licence="MIT"), tmp_path / "out")
    rows = statistics(tmp_path / "out", "sources")
    assert [(row["package"], row["split"], row["documents"]) for row in rows] == [
        ("(all)", split, facts["documents"][split]) for split in ("train", "val")
    ]


@pytest.mark.slow
def test_a_corpus_of_more_parts_than_files_may_be_open(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec
) -> None:
    monkeypatch.setattr(base, "TASK_BYTES", 1)
    for number in range(120):
        put(tree, f"more{number:03}/m.py", words(number, 12))
    codec.save(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64 + len(list(Path("/proc/self/fd").iterdir())), hard))
    try:
        monkeypatch.setattr(pack_module, "OPEN_FILES", 16)
        facts = run(tree, tmp_path / "out", dedup=Dedup())
        with open_executor(LocalExecutor(workers=1), directory=tmp_path) as executor:
            packed = pack_module.pack(
                tmp_path / "out", tmp_path, row_len=256, fim=FimMix(rate=0.5, spm_rate=0.5), seed=0,
                out=tmp_path, work=tmp_path / "work", executor=executor,
            )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert packed.facts["documents"] == facts["documents"]["train"] > 100
