"""Two evaluations side by side: the same problems and the same rows, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from albor.evals import journal
from albor.evals.paired import Paired, paired

Problem = tuple[str, ...]


@dataclass(frozen=True)
class Shared:
    """What both did of one task."""

    task: str
    count: int
    """Problems that both have."""
    left: float
    right: float
    """Share of them that passes, mean over completions."""
    test: Paired
    """Of right minus left."""


def compare(left: Path, right: Path, tasks: list[str]) -> list[Shared]:
    """The tasks of which the artifacts of two evaluations share two problems or more."""
    found = []
    for task in tasks:
        a, b = (passed(artifact / "generations" / f"{task}.jsonl") for artifact in (left, right))
        shared = [problem for problem in a if problem in b]
        if len(shared) > 1:
            ours, theirs = ([of[problem] for problem in shared] for of in (a, b))
            count = len(shared)
            found.append(Shared(task, count, sum(ours) / count, sum(theirs) / count, paired(theirs, ours)))
    return found


def passed(path: Path) -> dict[Problem, float]:
    """The share of each problem's completions that pass; empty for a task without completions.

    Holes are drawn and numbered, so a hole is the same only when what is around it is.
    """
    verdicts: dict[Problem, list[bool]] = {}
    for record in journal.read(path) if path.exists() else []:
        around = (record["prompt"], record["suffix"]) if "suffix" in record else ()
        verdicts.setdefault((record["problem"], *around), []).append(record["verdict"] == "passed")
    return {problem: sum(found) / len(found) for problem, found in verdicts.items()}


def row_losses(path: Path) -> dict[int, float]:
    """Of each validation row its mean loss (nats a token), from a ``rows.jsonl``; empty when there is none."""
    rows = journal.read(path) if path.exists() else []
    return {row["row"]: row["nll"] / row["tokens"] for row in rows if row["tokens"]}


def compare_rows(left: Mapping[int, float], right: Mapping[int, float]) -> Paired | None:
    """The test of right minus left, row by row; None where they share fewer than two rows."""
    shared = [row for row in left if row in right]
    return paired([right[row] for row in shared], [left[row] for row in shared]) if len(shared) > 1 else None
