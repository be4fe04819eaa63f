"""What docs/RESULTS.md is made by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.results import page, records
from bench.results.figures import curves, short, ticks
from bench.results.fit import Law, fit, held_out, redrawn

TRUE = Law(floor=0.4, a=30.0, alpha=0.3, b=60.0, beta=0.28)
RECORD = records.Record(
    name="50m", stage="pretrain", id="0123456789ab", command="python -m albor", rows="a", hardware="h100",
    torch="2.11.0", commit="abc", date="2026-11-23", status="done", seconds=1.0,
)  # fmt: skip
SIZES, TOKENS = (4e6, 25e6, 62e6, 398e6), (2e7, 6.5e7, 2e8)


def test_a_law_is_found_again_from_noisy_ends() -> None:
    draw = np.random.default_rng(0)
    points = [(n, d, TRUE(n, d) * (1 + 0.003 * draw.standard_normal())) for n in SIZES for d in TOKENS]
    law = fit(points)
    assert [law(n, d) for n, d, _ in points] == pytest.approx([loss for *_, loss in points], rel=0.01)
    assert law(398e6, 1e10) == pytest.approx(TRUE(398e6, 1e10), rel=0.03)
    assert held_out(points) == pytest.approx([1.0] * len(points), abs=0.02)
    said = [one(398e6, 1e10) for one in redrawn(points, 0.003, times=20)]
    assert min(said) < law(398e6, 1e10) < max(said)


def test_an_exact_law_is_found_exactly() -> None:
    points = [(n, d, TRUE(n, d)) for n in SIZES for d in TOKENS]
    law = fit(points)
    assert (law.floor, law.alpha, law.beta) == pytest.approx((TRUE.floor, TRUE.alpha, TRUE.beta), rel=1e-3)


def test_five_runs_are_too_few_for_a_law() -> None:
    with pytest.raises(ValueError, match="5 runs"):
        fit([(4e6, d, 1.0) for d in (1e6, 2e6, 3e6, 4e6, 5e6)])


def test_records_are_kept_and_replaced(tmp_path: Path) -> None:
    def record(status: str, name: str = "50m", seconds: float = 1.0) -> records.Record:
        return replace(RECORD, status=status, name=name, seconds=seconds)

    place = tmp_path / "results" / "runs.jsonl"
    records.save(records.merged(records.load(place), [record("running"), record("done", "other")]), place)
    records.save(records.merged(records.load(place), [record("done")]), place)
    assert [(r.name, r.status) for r in records.load(place)] == [("50m", "done"), ("other", "done")]
    records.save(records.merged(records.load(place), [record("interrupted", seconds=2.0)]), place)
    assert [(r.status, r.seconds) for r in records.load(place)] == [("done", 1.0), ("done", 1.0)]


def test_only_a_run_that_came_to_its_end_is_reported() -> None:
    runs = page.Runs([replace(RECORD, status="interrupted")])
    assert not runs.has("pretrain/50m") and "50m (interrupted)" in runs.every()
    runs = page.Runs([RECORD, replace(RECORD, id="ba9876543210")])
    assert runs.has("pretrain/50m") and runs.every().count("pretrain/50m") == 2
    with pytest.raises(KeyError, match="2 finished runs"):
        runs.one("pretrain/50m")
    assert runs.one("ba9876543210").id == "ba9876543210"


def test_a_command_is_told_as_others_would_type_it() -> None:
    local = "python -m albor stage=pretrain inputs.rows=a/b 'task=[x,y]' tracking=none hardware=h100 seed=1"
    said = "python -m albor stage=pretrain 'task=[x,y]' hardware=h100 seed=1"
    seeds = "up.prepare.seed=42 up.tokenizer.seed=42 up.pack.seed=42"
    assert records.plain(local) == f"{said} {seeds}"
    rows = "python -m albor stage=pack model=50m data.fim_rate=0.9 inputs.documents=c"
    assert records.plain(local, rows) == f"{said} data.fim_rate=0.9 {seeds}"
    assert records.plain(local, f"{rows} seed=1") == f"{said} data.fim_rate=0.9"
    assert records.plain("python -m albor stage=ladder seed=1") == "python -m albor stage=ladder seed=1"


def test_a_loop_that_was_cut_off_keeps_what_it_said(tmp_path: Path) -> None:
    about = {
        "command": "python -m bench.raw_loop ROWS", "steps": 400, "rows": "a", "parameters": 5, "device": "cpu",
        "torch": "2.11.0", "commit": None, "time": 0.0,
    }  # fmt: skip
    point = {"step": 200, "tokens": 10, "val_ppl": 3.0, "val_bits_per_byte": 1.0, "seconds": 2.0}
    file = tmp_path / "raw.jsonl"
    file.write_text(f"{json.dumps(about)}\n{json.dumps(point)}\n")
    found = records.of_loop(file)
    assert (found.name, found.status, found.curve) == ("raw", "interrupted", [point])
    file.write_text(f"{json.dumps(about)}\n")
    assert (records.of_loop(file).status, records.of_loop(file).curve) == ("interrupted", [])


def test_a_prediction_stays_judged_when_other_runs_leave_it_untested(tmp_path: Path) -> None:
    def said(verdict: str, evidence: str) -> str:
        one = {"id": "FALSIFY-ALBOR-003", "title": "t", "condition": "c", "verdict": verdict, "evidence": evidence}
        return f"warning\n{json.dumps([one | {'numbers': {}, 'command': ''}], indent=1)}\nwritten: a.md"

    place = tmp_path / "verdicts.jsonl"
    for text in (said("UNTESTED", "a"), said("CORROBORATED", "b"), said("UNTESTED", "c"), said("FALSIFIED", "d")):
        records.save_verdicts(records.judged(records.load_verdicts(place), records.verdicts(text)), place)
    assert [(one["verdict"], one["evidence"]) for one in records.load_verdicts(place)] == [("FALSIFIED", "d")]
    assert "| 003 | t | FALSIFIED | d | `albor falsify 3` |" in page.judged(records.load_verdicts(place))


def test_axes_have_round_numbers() -> None:
    assert ticks(3e6, 6e7) == [5e6, 1e7, 2e7, 5e7]
    assert [short(x) for x in (65_536_000, 1e10, 12.0)] == ["65.5M", "10B", "12"]
    drawing = curves("T", {"a": [(1e6, 2.0), (2e6, 1.0)], "b": [(1e6, 1.5)]}, across="x", up="y", top=2.0)
    assert drawing.svg().count("line blue") == 2


def test_the_page_is_what_its_records_say() -> None:
    for path, text in page.render(records.load(), records.load_verdicts()).items():
        assert path.read_text() == text, f"{path} is stale: python -m bench.results page"


def test_the_pace_of_a_loop_is_without_compilation_and_validations() -> None:
    steps = enumerate((0.0, 70.0, 80.0, 90.0, 100.0))
    curve = [
        {"step": i, "tokens": 1000.0 * i, "seconds": at, "validating": 0.0 if i < 1 else 5.0 * i} for i, at in steps
    ]
    assert page.Runs([replace(RECORD, id="", curve=curve)]).pace("50m") == 200.0
    assert page.Runs([replace(RECORD, facts={"tokens_per_second": 7})]).pace("pretrain/50m") == 7.0


def test_speeds_are_told_by_engine_and_threads() -> None:
    def timing(engine: str, threads: int | None, rows: int, p50_ms: float | None) -> dict[str, object]:
        return {"engine": engine, "threads": threads, "rows": rows, "p50_ms": p50_ms, "rate": 100.0 * rows}

    timings = [timing("albor", 1, 1, 9.5), timing("albor", 2, 1, 6.25), timing("albor", 2, 16, 8.0)]
    timings.append(timing("llama-bench", 2, 1, None))
    record = replace(RECORD, name="q4", stage="bench", facts={"machine": "a CPU", "timings": timings})
    assert page.Runs([record]).speeds([("q4", "bench/q4")]).splitlines()[2:] == [
        "| q4 | a CPU, 1 thread | albor | 9.50 | 100 |  |",
        "| q4 | a CPU, 2 threads | albor | 6.25 | 100 | 1,600 (16 at a time) |",
        "| q4 | a CPU, 2 threads | llama-bench |  | 100 |  |",
    ]
