"""How contracts are registered, and how what is known of their tests is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from albor.contracts import CONTRACTS, Case, base, evidence
from albor.contracts.base import Found, check_all, contract
from albor.contracts.evidence import Evidence

TESTS = """
import pytest

TABLE = [
    ("C-B-001", 1),
    ("C-B-002", 2),
    ("C-B-001", 3),
    "no row",
]


@pytest.mark.slow
@pytest.mark.contract("C-A-001", "C-A-002", level=3)
@pytest.mark.contract(TABLE, level=2)
def test_it():
    pass


@pytest.mark.contract("C-HELPER", level=2)
def helper():
    pass
"""


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, base.Contract]:
    known: dict[str, base.Contract] = {}
    monkeypatch.setattr(base, "CONTRACTS", known)
    return known


def nothing(case: Case) -> Iterator[Found]:
    yield from ()


def test_a_contract_is_what_its_decorator_says(registered: dict[str, base.Contract]) -> None:
    made = contract("C-X-001", "Title", formula="a = b", stages=("pack",), history="Once.", level=3, needs=("C-A",))
    assert made(nothing) is nothing
    plain = contract("C-X-002", "Other", formula="c", stages=("pack", "prepare"))
    plain(nothing)
    full, short = registered["C-X-001"], registered["C-X-002"]
    assert (full.id, full.title, full.formula, full.stages) == ("C-X-001", "Title", "a = b", ("pack",))
    assert (full.history, full.level, full.needs, full.check) == ("Once.", 3, ("C-A",), nothing)
    assert (short.history, short.level, short.needs) == ("", 2, ())
    with pytest.raises(AssertionError, match=r"^C-X-002 is defined twice$"):
        plain(nothing)


def test_findings_are_of_the_stage_with_errors_first_and_those_allowed_as_warnings(
    registered: dict[str, base.Contract], case: Callable[..., Case]
) -> None:
    def check(severity: base.Severity) -> Callable[[Case], Iterator[Found]]:
        return lambda case: iter([(severity, "a.b", "message", "help")])

    for name, severity, stages in (("W", "warning", "pretrain"), ("E", "error", "pretrain"), ("O", "error", "pack")):
        contract(f"C-{name}-001", "", formula="", stages=(stages,))(check(severity))  # type: ignore[arg-type]
    found = check_all(case())
    assert [(f.id, f.severity, f.path, f.message, f.help) for f in found] == [
        ("C-E-001", "error", "a.b", "message", "help"),
        ("C-W-001", "warning", "a.b", "message", "help"),
    ]
    assert [f.severity for f in check_all(case("allow=[C-E-001]"))] == ["warning", "warning"]


def test_a_case_knows_what_is_built_and_else_what_is_planned(case: Callable[..., Case]) -> None:
    planned = case("data.num_sequences=7", "data.row_len=300")
    assert (planned.num_sequences, planned.row_len) == (7, 300)
    built = case("data.num_sequences=7", inputs={"rows": {"num_sequences": 5, "row_len": 64}})
    assert (built.num_sequences, built.row_len) == (5, 64)
    assert built.budget.num_sequences == 5 and case().num_sequences is None
    assert case().row_len == 512


def tree(root: Path) -> Path:
    (root / "tests/deep").mkdir(parents=True)
    (root / "tests/deep/test_a.py").write_text(TESTS, encoding="utf-8")
    (root / "tests/deep/other.py").write_text(TESTS, encoding="utf-8")
    (root / "tests/test_none.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
    return root


def test_marks_are_read_off_the_tests(tmp_path: Path) -> None:
    test = "tests/deep/test_a.py::test_it"
    assert evidence.stated(tree(tmp_path)) == [
        Evidence("C-A-001", 3, test),
        Evidence("C-A-002", 3, test),
        Evidence("C-B-001", 2, test),
        Evidence("C-B-002", 2, test),
    ]


def test_a_mark_with_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "tests/test_b.py").write_text(TESTS.replace("TABLE, level", "ROWS, level"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^line 14: no table ROWS in this file$"):
        evidence.stated(tmp_path)


def test_outcomes_are_those_of_the_last_run(tmp_path: Path) -> None:
    assert evidence.outcomes(tmp_path) == {}
    cache = tmp_path / ".pytest_cache/v/albor/contracts"
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps({"t::é": {"C-A": ["passed", "abc"]}}, ensure_ascii=False), encoding="utf-8")
    assert evidence.outcomes(tmp_path) == {"t::é": {"C-A": ("passed", "abc")}}


def test_sources_are_the_code_the_configs_and_the_tests_with_their_names(tmp_path: Path) -> None:
    tree(tmp_path)
    for name in ("albor/a.py", "conf/b.yaml", "docs/c.md", "albor/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    digests = [evidence.sources(tmp_path)]
    for name, counts in (("docs/c.md", False), ("albor/d.txt", False), ("albor/a.py", True), ("conf/b.yaml", True)):
        (tmp_path / name).write_text("y")
        digests.append(evidence.sources(tmp_path))
        assert (digests[-1] != digests[-2]) is counts, name
    (tmp_path / "albor/a.py").rename(tmp_path / "albor/z.py")
    assert evidence.sources(tmp_path) != digests[-1] and len(digests[0]) == 64


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({}, "not run"),
        ({"a": ("passed", "now")}, "not run"),
        ({"a": ("passed", "now"), "b": ("passed", "now")}, "passed"),
        ({"a": ("passed", "now"), "b": ("passed", "old")}, "not run since"),
        ({"a": ("passed", "now"), "b": ("failed", "old")}, "failed"),
        ({"b": ("failed", "now")}, "failed"),
    ],
)
def test_a_contract_is_as_sure_as_its_least_sure_test(outcomes: dict[str, tuple[str, str]], expected: str) -> None:
    found = {test: {"C-X": outcome} for test, outcome in outcomes.items()}
    assert evidence.status("C-X", ["a", "b"], found, "now") == expected
    assert evidence.status("C-X", [], found, "now") == "not run"
    assert evidence.status("C-Y", ["a"], found, "now") == "not run"


def test_this_checkout_is_found_and_holds_its_contracts() -> None:
    root = evidence.checkout()
    assert root is not None and (root / "albor/contracts/base.py").is_file() and CONTRACTS
