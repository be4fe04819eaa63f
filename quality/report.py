"""Writes docs/QUALITY.md from what the tests reached, the mutants they missed and how tangled functions are.

Exits with 1 when a figure is below its target.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from typing import Any

from quality import gpu, mutation

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/QUALITY.md"
COVERAGE = ROOT / "build/quality/coverage.json"
COVERED, NOTICED, TANGLED = 0.95, 0.85, 15
"""The targets: least line coverage, least mutation score, largest cyclomatic complexity."""


def complexities() -> Counter[int]:
    """How many functions have which cyclomatic complexity, as ruff counts it; those of 1 are left out."""
    command = [sys.executable, "-m", "ruff", "check", "albor", "--select", "C901", "--output-format", "json"]
    found = subprocess.run(
        [*command, "--config", "lint.mccabe.max-complexity=1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    words = [re.search(r"\((\d+) > 1\)", entry["message"]) for entry in json.loads(found.stdout)]
    return Counter(int(word[1]) for word in words if word)


def covered() -> dict[str, tuple[int, int]]:
    """Statements reached, and all of them, by package."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path, of in json.loads(COVERAGE.read_text())["files"].items():
        package = "/".join(Path(path).parts[:2]) if len(Path(path).parts) > 2 else "albor"
        found[package][0] += of["summary"]["covered_lines"]
        found[package][1] += of["summary"]["num_statements"]
    return {name: (reached, of) for name, (reached, of) in sorted(found.items())}


def mutants() -> dict[str, Counter[str]]:
    """How the mutants of each area ended."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for path, counts in mutation.results().items():
        area = mutation.area_of(path)
        assert area is not None
        found[area] += counts
    return {area: found[area] for area in mutation.AREAS}


def by_tests(counts: Counter[str]) -> float:
    """The share of the well-typed mutants that a test notices."""
    return counts["killed"] / max(counts.total() - counts["ill-typed"], 1)


def table(head: str, rows: list[list[Any]]) -> str:
    names = head.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(str(cell).strip() for cell in line)} |" for line in lines)


def page() -> tuple[str, list[str]]:
    """The page, and the targets that are missed."""
    missed = []
    lines = covered()
    reached, statements = (sum(of[i] for of in lines.values()) for i in (0, 1))
    if reached < COVERED * statements:
        missed.append(f"line coverage {reached / statements:.1%}")
    rows = [[f"`{name}`", f"{of:,}", f"{of - got:,}", f"{got / of:.1%}"] for name, (got, of) in lines.items() if of]
    rows.append(["**all**", f"{statements:,}", f"{statements - reached:,}", f"**{reached / statements:.1%}**"])

    of_gpu = json.loads(gpu.RECORD.read_text())
    marked, run = (sum(of[key] for of in of_gpu["files"].values()) for key in ("marked", "run"))
    device = f"{marked:,} statements need a CUDA device and are not counted above. On one ({of_gpu['device']}, "
    device += f"{of_gpu['date']}) the tests marked `gpu` reach {run:,} of them, {run / marked:.1%}."

    scores = []
    for area, counts in mutants().items():
        score = mutation.score(counts)
        if score < NOTICED:
            missed.append(f"mutation score of {area} {score:.1%}")
        kinds = [f"{counts[kind]:,}" for kind in ("ill-typed", "killed", "survived", "untested")]
        scores.append([area, f"{counts.total():,}", *kinds, f"**{score:.1%}**", f"{by_tests(counts):.1%}"])

    tangled = complexities()
    if max(tangled) > TANGLED:
        missed.append(f"a cyclomatic complexity of {max(tangled)}")
    most = ", ".join(f"{tangled[n]} of {n}" for n in sorted(tangled, reverse=True)[:3])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    text = f"""# Quality

Written by `make quality` at commit `{commit.strip()}` on {date.today()}; edit `quality/report.py`, not this page.

| figure | target | reached |
|---|---|---|
| line coverage of `albor/` | ≥ {COVERED:.0%} | {reached / statements:.1%} |
| lowest mutation score of an area | ≥ {NOTICED:.0%} | {min(mutation.score(c) for c in mutants().values()):.1%} |
| largest cyclomatic complexity | ≤ {TANGLED} | {max(tangled)} |

## Coverage

All tests, the slow ones and the processes that they start. What runs inside the sandbox cannot be measured there: its
modules count as far as tests run them outside.

{table("package|statements|missed|reached", rows)}

{device}

## Mutants

mutmut changes one thing at a time: an operator, a number, a word of a message, an argument. A mutant that mypy refuses
would not pass `make lint`; one that no test notices survives. Decorated functions are included (see
`quality/mutation.py`); of the tests, only those run that stay in their process.

{table("area|mutants|refused by mypy|killed|survived|reached by no test|score|by tests, of the well-typed", scores)}

## Complexity

Functions with the largest cyclomatic complexity, as ruff counts it: {most}.
"""
    return text, missed


def main() -> int:
    text, missed = page()
    PAGE.write_text(text, encoding="utf-8")
    for what in missed:
        print(f"below its target: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
