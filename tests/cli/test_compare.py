"""``albor diff`` of two evaluations: the same problems, pair by pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from albor.evals import journal
from albor.runs import manifest
from albor.runs.manifest import Manifest


def evaluated(store: Path, name: str, passing: int, **more: Any) -> None:
    """A finished evaluation of 40 problems with two completions each, of which the first problems pass."""
    run = store / "eval" / f"m-{name}"
    records = [
        {"problem": f"p{i}", "sample": s, "verdict": "passed" if i < passing else "failed", **more}
        for i in range(40)
        for s in range(2)
    ]
    journal.write(run / "artifact/generations/humaneval.jsonl", records)
    value = {"value": passing / 40, "low": 0.0, "high": 1.0}
    facts = {"scores": {"humaneval": {"problems": 40, "samples": 2, "pass@1": value}}}
    made = Manifest(stage="eval", version=3, id=name, label="m", status="done", command="", config={}, facts=facts)
    manifest.save(run, made)


def test_two_evaluations_are_compared_problem_by_problem(
    albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(tmp_path / "outputs", "aaaa", passing=4)
    evaluated(tmp_path / "outputs", "bbbb", passing=24)
    done = albor("diff", "aaaa", "bbbb")
    line = next(line for line in done.out.splitlines() if line.strip().startswith("humaneval "))
    assert done.code == 0
    assert "10.0" in line and "60.0" in line and "+50.0" in line and line.rstrip().endswith("0.0001")
    same = albor("diff", "aaaa", "aaaa").out
    assert "+0.0 (+0.0 to +0.0)" in same and "1.0000" in same


def test_holes_with_one_number_in_other_texts_are_not_compared(
    albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("aaaa", "one"), ("bbbb", "one"), ("cccc", "another")):
        evaluated(tmp_path / "outputs", name, passing=4, prompt=text, suffix="\n")
    assert "problem by problem" in albor("diff", "aaaa", "bbbb").out
    assert "problem by problem" not in albor("diff", "aaaa", "cccc").out
