"""Every contract is tested as surely as it says, and what became of its tests is remembered."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from albor.contracts import KERNELS, RULES
from albor.contracts import evidence as read

ROOT = Path(__file__).parents[2]


def test_every_contract_has_tests_of_the_level_that_it_claims_and_none_above() -> None:
    highest: dict[str, int] = {}
    for one in read.stated(ROOT):
        highest[one.contract] = max(one.level, highest.get(one.contract, 0))
    assert highest == {name: rule.level for name, rule in RULES.items()}


def test_marks_stand_where_they_are_read() -> None:
    """pytest also knows marks on parameters and modules; the syntax trees are asked for decorators only."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        marks = re.findall(r"^.*mark\.contract\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert path.name == Path(__file__).name or set(marks) <= {"@pytest.mark.contract("}, path


def test_a_kernel_names_what_keeps_it() -> None:
    for kernel in KERNELS.values():
        module, _, name = kernel.where.rpartition(".")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f"\ndef {name}(" in source or f"\nclass {name}" in source, kernel.id


EXAMPLE = """
import pytest
TABLE = [("C-1", 1), ("C-2", 2), ("C-1", 3)]
other = pytest.mark.slow

@other
@pytest.mark.contract(TABLE, level=3)
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_rows(row):
    assert row != ("C-2", 2) or not FAILS

@pytest.mark.contract("C-3", "C-4", level=2)
def test_two():
    pass

@pytest.mark.contract("C-5", level=2)
def test_skipped():
    pytest.skip("not here")

@pytest.mark.contract("C-6", level=2)
@pytest.mark.parametrize("x", [0, 1])
def test_group(x):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the tests of six contracts."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  contract: c\n  slow: s\n")
    shutil.copy(ROOT / "tests/outcomes.py", tmp_path / "tests/conftest.py")
    write(tmp_path, fails=False)
    return tmp_path


def write(root: Path, *, fails: bool) -> None:
    (root / "tests/test_example.py").write_text(f"FAILS = {fails}\n{EXAMPLE}")


def run(root: Path, *words: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", *words]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what other plugins import takes seconds
    subprocess.run(command, cwd=root, env=alone, capture_output=True, timeout=120, check=False)


def statuses(root: Path) -> str:
    """Of C-1 to C-6, in order."""
    seen, digest, stated = read.outcomes(root), read.sources(root), read.stated(root)
    names = [f"C-{number}" for number in range(1, 7)]
    return ", ".join(read.status(n, [e.test for e in stated if e.contract == n], seen, digest) for n in names)


def test_marks_are_read_without_running_anything(project: Path) -> None:
    found = [(e.contract, e.level, e.test.removeprefix("tests/test_example.py::")) for e in read.stated(project)]
    assert found == [("C-1", 3, "test_rows"), ("C-2", 3, "test_rows"), ("C-3", 2, "test_two"), ("C-4", 2, "test_two"),
                     ("C-5", 2, "test_skipped"), ("C-6", 2, "test_group")]  # fmt: skip
    (project / "tests/test_wrong.py").write_text(
        "import pytest\n@pytest.mark.contract(NO, level=2)\ndef test_a(): ...\n"
    )
    with pytest.raises(ValueError, match="no table NO"):
        read.stated(project)


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_outcomes_are_remembered_by_contract(workers: str, project: Path) -> None:
    assert statuses(project) == ", ".join(["not run"] * 6)
    run(project, "-n", workers)
    assert statuses(project) == "passed, passed, passed, passed, not run, passed"
    write(project, fails=True)
    assert statuses(project).count("not run since") == 5
    run(project, "-n", workers)
    assert statuses(project) == "passed, failed, passed, passed, not run, passed"


def test_a_change_ends_what_is_known_of_a_pass_and_not_of_a_failure(project: Path) -> None:
    write(project, fails=True)
    run(project, "-n", "0")
    write(project, fails=False)
    assert statuses(project).startswith("not run since, failed, not run since")
    run(project, "-n", "0", "tests/test_example.py::test_rows")
    assert statuses(project).startswith("passed, passed, not run since")


@pytest.mark.parametrize("part", [("-k", "test_group and 0"), ("tests/test_example.py::test_group[0]",)], ids=" ".join)
def test_some_of_the_cases_are_not_a_pass(part: tuple[str, ...], project: Path) -> None:
    run(project, "-n", "0", *part)
    assert statuses(project) == ", ".join(["not run"] * 6)


def test_what_is_installed_has_no_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read.checkout() == ROOT
    monkeypatch.setattr(read, "__file__", str(tmp_path / "albor/contracts/evidence.py"))
    assert read.checkout() is None
