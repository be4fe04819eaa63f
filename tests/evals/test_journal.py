"""Files of records."""

from __future__ import annotations

from pathlib import Path

from albor.evals.journal import Journal, read, write


def test_only_a_line_feed_ends_a_record(tmp_path: Path) -> None:
    records = [{"problem": n, "completion": f"a{end}b"} for n, end in enumerate("\n\r\x0b\x1c\x85\u2028\u2029")]
    write(tmp_path / "new" / "records.jsonl", records)
    assert read(tmp_path / "new" / "records.jsonl") == records
    with Journal(tmp_path / "new" / "records.jsonl", ("problem",)) as journal:
        assert [*journal.records.values()] == records
