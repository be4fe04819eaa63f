"""Scores of an evaluation as a table, beside those of known models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from albor.cli.render import table


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each metric: its value in percent with its 95% interval, the floor of empty completions, and models
    that score higher or lower."""
    head = ["task", "metric", "score", "95%", "problems", "empty", "known models"]
    return table([head, *(row for task, found in scores.items() for row in _rows(task, found))], right=(2, 3, 4, 5))


def _rows(task: str, found: Mapping[str, Any]) -> Iterator[list[str]]:
    from albor.evals.baselines import beside

    groups: Mapping[str, Mapping[str, Any]] = found.get("groups", {})
    for label, part in [(task, found), *((f"  {name}", group) for name, group in groups.items())]:
        for metric, value in part.items():
            if not isinstance(value, dict) or "value" not in value:
                continue
            scale = 1 if metric == "perplexity" else 100
            number, low, high = (_number(value[key] * scale) for key in ("value", "low", "high"))
            known = (
                ", ".join(f"{name} {score:g}" for name, score in beside(task, metric).items()) if part is found else ""
            )
            problems = f"{part['problems']:,}" + (f" × {part['samples']}" if part.get("samples", 1) > 1 else "")
            empty = _number(100 * part["empty"]) if "empty" in part else ""
            yield [label, metric, number, f"{low}–{high}", problems, empty, known]


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e5 else f"{value:.3g}"
