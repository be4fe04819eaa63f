"""Mutation testing with mutmut: which changes to the code would the tests not notice?

mutmut leaves decorated functions alone, and contracts are decorated. It is given a copy of the tree in which
``@contract(…)`` above a function is written as ``name = contract(…)(name)`` below it, which Python runs the same way.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build/quality/mutation"
COPIED = ("albor", "bench", "conf", "docs", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", "Makefile")
MOVED = {"contract", "cache", "lru_cache"}
"""Wrappers that keep a function's type: the type checker reads the copy too."""
AREAS = {
    "config": ("albor/config/",),
    "contracts": ("albor/contracts/",),
    "runs": ("albor/runs/",),
    "scoring": ("albor/evals/scor", "albor/evals/paired"),
}
VERDICTS = {0: "survived", 5: "survived", 1: "killed", 3: "killed", 33: "untested", 37: "ill-typed"}
"""By the code that mutmut stores; any other is a crash or a timeout, both of which the tests notice."""


def undecorated(source: str) -> str:
    """The same program with the functions' decorators applied below them."""
    lines = source.splitlines(keepends=True)
    insert: dict[int, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        [*others, wrapper] = node.decorator_list
        name = wrapper.func if isinstance(wrapper, ast.Call) else wrapper
        if others or not isinstance(name, ast.Name) or name.id not in MOVED:
            continue
        text, indent = ast.get_source_segment(source, wrapper), " " * node.col_offset
        insert[node.end_lineno or 0] = f"{indent}{node.name} = {text}({node.name})  # type: ignore\n"
        for number in range(wrapper.lineno, node.lineno):
            lines[number - 1] = ""
    for number in sorted(insert, reverse=True):
        lines.insert(number, insert[number])
    return "".join(lines)


def area_of(path: str) -> str | None:
    """The area that a Python file of the package belongs to."""
    return next((a for a, starts in AREAS.items() if path.startswith(starts) and path.endswith(".py")), None)


def wanted() -> dict[Path, bytes]:
    """Every file of the copy, and what it should hold."""
    found: dict[Path, bytes] = {}
    for name in COPIED:
        top = ROOT / name
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                content = path.read_bytes()
                found[relative] = undecorated(content.decode()).encode() if area_of(str(relative)) else content
    return found


def prepare() -> None:
    """Brings the copy up to date; what did not change keeps its time, and mutmut its results."""
    files = wanted()
    for name in COPIED:
        for path in (PLACE / name).rglob("*"):
            if path.is_file() and path.relative_to(PLACE) not in files:
                path.unlink()
    for relative, content in files.items():
        path = PLACE / relative
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def results() -> dict[str, Counter[str]]:
    """How many mutants of each file ended how."""
    found: dict[str, Counter[str]] = {}
    for meta in sorted((PLACE / "mutants/albor").rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        path = str(meta.relative_to(PLACE / "mutants")).removesuffix(".meta")
        if codes and area_of(path):
            found[path] = Counter("waiting" if c is None else VERDICTS.get(c, "killed") for c in codes.values())
    return found


def score(counts: Counter[str]) -> float:
    """The share of mutants that are noticed: by a test, or by the type checker."""
    return (counts["killed"] + counts["ill-typed"]) / max(counts.total(), 1)


def main() -> int:
    prepare()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mutmut calls mypy by its name
    command = [sys.executable, "-m", "mutmut", "run", *sys.argv[1:]]
    code = subprocess.run(command, cwd=PLACE, env=os.environ | {"PATH": path}, check=False).returncode
    for path, counts in results().items():
        print(f"{path:40} {score(counts):7.1%}  {dict(counts)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
