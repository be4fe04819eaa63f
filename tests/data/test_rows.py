from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from albor.data import rows as row_files
from albor.data.errors import DataError
from albor.data.rows import Row, Rows, token_bytes, write

LENGTH = 24


def some(n: int, width: int = 2, row_len: int = LENGTH) -> list[Row]:
    rng = np.random.default_rng(n)
    top = 60_000 if width == 2 else 200_000
    return [
        (
            rng.integers(0, top, row_len).astype(f"<u{width}"),
            np.sort(rng.choice(np.arange(1, row_len + 1), 3, replace=False)).astype(np.int32),
        )
        for _ in range(n)
    ]


def put(path: Path, content: list[Row], width: int = 2, row_len: int = LENGTH) -> Path:
    write(path, content, row_len=row_len, token_bytes=width)
    return path


@pytest.mark.parametrize("width", [2, 4])
def test_rows_come_back_in_any_order_from_several_files(tmp_path: Path, width: int) -> None:
    content = some(200, width)
    rows = Rows([put(tmp_path / "a", content[:130], width), put(tmp_path / "b", content[130:], width)])
    assert (len(rows), rows.row_len, rows.dtype) == (200, LENGTH, np.dtype(f"<u{width}"))
    indices = np.random.default_rng(1).integers(0, 200, 300)
    tokens, doc_ends = rows.read(indices)
    assert tokens.dtype == rows.dtype
    for position, index in enumerate(indices):
        np.testing.assert_array_equal(tokens[position], content[index][0])
        np.testing.assert_array_equal(doc_ends[position], content[index][1])


def test_the_file_is_as_its_format_says(tmp_path: Path) -> None:
    file = pq.ParquetFile(put(tmp_path / "a", some(130)))
    assert file.schema_arrow.field("tokens").type == pa.binary(LENGTH * 2)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [64, 64, 2]
    column = file.metadata.row_group(0).column(0)
    assert (column.compression, column.has_dictionary_page) == ("UNCOMPRESSED", False)


def test_a_row_is_read_where_parquet_itself_finds_it(tmp_path: Path) -> None:
    path = put(tmp_path / "a", some(300))
    column = pq.read_table(path, columns=["tokens"]).column(0)
    tokens, _ = Rows(path).read(np.arange(300))
    assert [line.tobytes() for line in tokens] == column.to_pylist()


def test_threads_share_the_rows(tmp_path: Path) -> None:
    rows = Rows([put(tmp_path / "a", some(200)), put(tmp_path / "b", some(100))])
    whole, _ = rows.read(np.arange(300))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: rows.read(np.arange(start, 300, 7))[0], range(7)))
    for start, part in enumerate(parts):
        np.testing.assert_array_equal(part, whole[start::7])


def test_a_file_that_another_program_wrote_anew_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a", some(100))
    pq.write_table(pq.read_table(path), tmp_path / "b", compression="zstd")
    with pytest.raises(DataError, match="laid out"):
        Rows(tmp_path / "b")


def test_no_rows(tmp_path: Path) -> None:
    rows = Rows(put(tmp_path / "a", []))
    assert len(rows) == 0
    tokens, doc_ends = rows.read(np.array([], dtype=np.int64))
    assert tokens.shape == (0, LENGTH)
    assert doc_ends == []


@pytest.mark.parametrize("index", [-1, 3])
def test_rows_out_of_range(tmp_path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        Rows(put(tmp_path / "a", some(3))).read(np.array([index]))


def test_a_width_that_holds_the_vocabulary() -> None:
    assert [token_bytes(size) for size in (8_192, 65_536, 65_537)] == [2, 2, 4]


def test_every_truncation_is_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = put(tmp_path / "whole", some(100)).read_bytes()
    cut = tmp_path / "cut"
    for size in (0, 3, 8, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read as Parquet") as refused:
            Rows(cut)
        assert refused.value.help
        assert "\n" not in str(refused.value)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Rows(tmp_path / "missing")
    foreign = tmp_path / "foreign"
    pq.write_table(pa.table({"tokens": [[1, 2]], "text": ["x"]}), foreign)
    with pytest.raises(DataError, match="column doc_ends, text does not fit"):
        Rows(foreign)
    ends = pa.array([[1]], row_files.ENDS)
    pq.write_table(pa.table({"tokens": pa.array([b"abcd"], pa.binary(4)), "doc_ends": ends}), foreign)
    with pytest.raises(DataError, match="does not hold rows"):
        Rows(foreign)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a", some(3)), put(tmp_path / "b", some(3, row_len=8), row_len=8)
    with pytest.raises(DataError, match="differ in length"):
        Rows([first, second])


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield some(1)[0]
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        write(tmp_path / "a", broken(), row_len=LENGTH, token_bytes=2)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
