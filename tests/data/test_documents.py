"""Documents in their files."""

from __future__ import annotations

from pathlib import Path

from albor.data import documents
from albor.data.documents import Document


def write(place: Path, numbers: range) -> Path:
    texts = ((n, f"f = {n}\n" + "x" * 500) for n in numbers)
    documents.write(place, (Document(text, "s", "p", "", f"{n}.py", "MIT") for n, text in texts))
    return place


def test_a_sample_is_about_its_size_and_the_same_however_files_are_cut(tmp_path: Path) -> None:
    whole = [write(tmp_path / "all.parquet", range(400))]
    parts = [write(tmp_path / "b.parquet", range(150, 400)), write(tmp_path / "a.parquet", range(150))]
    taken = {document.sha256 for document in documents.sample(whole, 50_000)}
    assert 60 <= len(taken) <= 140
    other = {document.sha256 for document in documents.sample(parts, 50_000)}
    assert len(taken ^ other) <= 3  # the footers' sizes differ by a little
    assert len(list(documents.sample(whole, 10**9))) == 400
