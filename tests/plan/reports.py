"""Plans of the longest chain that is one model's: what is said of no other target is said of its report."""

from __future__ import annotations

from collections.abc import Sequence

from albor.plan.nodes import Plan, Planner


def reported(planner: Planner, texts: Sequence[str]) -> Plan:
    named = any(text.startswith(("stage=", "experiment=")) for text in texts)
    return planner.plan(tuple(texts) if named else ("stage=report", *texts))
