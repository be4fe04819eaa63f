"""Which tests state which contract, read off their syntax trees, and how the last runs of pytest ended for them.

A test states a contract by ``@pytest.mark.contract("C-ID", level=2)``. A name in place of the id is that of a table in
the same file whose rows begin with an id: ``@pytest.mark.contract(TABLE, level=2)``.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from albor.contracts.base import Level

CACHE = "albor/contracts"
"""What the outcomes are called in pytest's cache."""
Outcomes = Mapping[str, Mapping[str, tuple[str, str]]]
"""By test and contract: passed or failed, and the ``sources`` that this was seen on."""


@dataclass(frozen=True)
class Evidence:
    """A test that states a contract."""

    contract: str
    level: Level
    test: str
    """``tests/contracts/test_contracts.py::test_name``"""


def checkout() -> Path | None:
    """The repository that this package is run from; None where it is installed, which leaves the tests behind."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "tests").is_dir() else None


def stated(root: Path) -> list[Evidence]:
    """Every contract that a test below ``tests/`` states. Raises ValueError for a mark that cannot be read."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.contract(" in text:
            file = path.relative_to(root).as_posix()
            found += [Evidence(name, level, f"{file}::{test}") for name, level, test in _marks(ast.parse(text))]
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, Level, str]]:
    """(contract, level, test) of every mark."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.contract":
                    level = cast(Level, ast.literal_eval(mark.keywords[0].value))
                    for argument in mark.args:
                        for name in _ids(argument, module):
                            yield name, level, node.name


def _ids(argument: ast.expr, module: ast.Module) -> list[str]:
    if not isinstance(argument, ast.Name):
        return [str(ast.literal_eval(argument))]
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == argument.id:
            rows = node.value.elts if isinstance(node.value, ast.List) else []
            return list(dict.fromkeys(str(ast.literal_eval(row.elts[0])) for row in rows if isinstance(row, ast.Tuple)))
    raise ValueError(f"line {argument.lineno}: no table {argument.id} in this file")


def outcomes(root: Path) -> Outcomes:
    """How the last run of each test ended; empty where none has been run."""
    try:
        text = (root / ".pytest_cache" / "v" / CACHE).read_text(encoding="utf-8")
    except OSError:
        return {}
    return {test: {k: (v[0], v[1]) for k, v in found.items()} for test, found in json.loads(text).items()}


def sources(root: Path) -> str:
    """SHA-256 of the code, the configs and the tests: an outcome says nothing of any others."""
    digest = hashlib.sha256()
    for folder, kind in (("albor", "*.py"), ("conf", "*.yaml"), ("tests", "*.py")):
        for path in sorted((root / folder).rglob(kind)):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def status(contract: str, tests: Sequence[str], found: Outcomes, digest: str) -> str:
    """``passed`` when every one of ``tests`` did, on the sources ``digest``; ``failed`` when one did not, on any;
    ``not run since`` when they passed on others; else ``not run``."""
    seen = [found.get(test, {}).get(contract) for test in tests]
    if any(outcome and outcome[0] == "failed" for outcome in seen):
        return "failed"
    if not seen or None in seen:
        return "not run"
    return "passed" if all(outcome and outcome[1] == digest for outcome in seen) else "not run since"
