"""A plan on the screen and as JSON."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from albor.cli.render import paint, plural, show_findings_of, table
from albor.config.units import human_bytes, human_count, human_seconds
from albor.contracts import Case, Finding
from albor.plan.nodes import Node, Plan

STATES = {
    "new": "cyan",
    "done": "green",
    "stale": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "running": "cyan",
}


def show_plan(plan: Plan) -> None:
    """The stages, then what the training in it amounts to, then what is wrong."""
    head = ["stage", "run", "state", "why", "tokens", "FLOPs", "memory", "disk", "time"]
    rows = [[n.stage.name, n.directory.name, n.state, n.reason, *_costs(n)] for n in plan.nodes]
    text = table([head, *rows], right=(4, 5, 6, 7, 8))
    for state, colour in STATES.items():
        text = text.replace(f"  {state}  ", f"  {paint(state, colour)}  ")
    print(text)
    for node in plan.nodes:
        if node.cost.parameters is not None:
            print()
            print(training(node))
    show_findings(plan, sys.stdout)


def _costs(node: Node) -> list[str]:
    cost = node.cost
    if node.state == "done":
        return ["", "", "", "", ""]
    return [
        human_count(cost.tokens) if cost.tokens is not None else "",
        f"{cost.flops:.2g}" if cost.flops is not None else "",
        human_bytes(cost.memory) if cost.memory is not None else "",
        human_bytes(cost.disk) if cost.disk is not None else "",
        f"~{human_seconds(cost.seconds)}" if cost.seconds is not None else "",
    ]


def training(node: Node) -> str:
    """Parameters, steps against data, memory and time of a training run, in a few lines."""
    cfg, cost = node.config, node.cost
    b = Case(cfg, node.stage.name, node.input_facts).budget
    assert cost.parameters and cost.tokens is not None
    built = "num_sequences" in node.input_facts.get("rows", {})
    if b.num_sequences is None:
        data = "rows not built yet; C-TRAINCFG-001 is checked again when they are"
    else:
        origin = "built" if built else "declared"
        data = (
            f"{b.num_sequences:,} rows ({origin}) ÷ {b.sequences_per_step:,} = {b.steps_per_epoch:,} steps an epoch; "
            f"epochs={b.epochs:,} → {b.achievable:,} steps, {b.wanted:,} wanted"
        )
    hardware = cfg.hardware
    lines = [
        ["model", f"{cfg.model.name} ({node.stage.name}): {cost.parameters:,} parameters in {cost.tensors} tensors"],
        [
            "steps",
            f"{b.actual:,} × {b.tokens_per_step:,} tokens = {human_count(cost.tokens)} tokens "
            f"({cost.tokens / cost.parameters:.2g} per parameter), {cost.flops:.3g} FLOPs",
        ],
        ["data", data],
        ["memory", f"about {human_bytes(cost.memory or 0)} of {human_bytes(hardware.memory)} ({hardware.name})"],
        ["disk", f"about {human_bytes(cost.disk or 0)} of {human_bytes(hardware.disk)}"],
    ]
    if cost.seconds is not None:
        world = cfg.trainer.world_size
        devices = f"{world} × {hardware.name}" if world > 1 else hardware.name
        lines.append(["time", f"about {human_seconds(cost.seconds)} on {devices} at {hardware.mfu:.0%} of its peak"])
    return "\n".join(f"  {k:<8} {v}" for k, v in lines)


def show_findings(plan: Plan, stream: TextIO | None = None) -> None:
    findings = [*plan.errors, *plan.warnings]
    if findings:
        print(file=stream or sys.stderr)
    show_findings_of(findings, stream)


def verdict(plan: Plan, *, strict: bool) -> tuple[str, int]:
    """One closing line and the exit code."""
    errors, warnings = len(plan.errors), len(plan.warnings)
    todo = [n for n in plan.nodes if n.state != "done"]
    counts = f"{plural(len(todo), 'run')} to make, {len(plan.nodes) - len(todo)} done"
    if errors:
        return f"refused: {plural(errors, 'error')}, {plural(warnings, 'warning')}; {counts}", 2
    if warnings and strict:
        return f"refused: {plural(warnings, 'warning')} (--strict); {counts}", 2
    return f"ok: {counts}" + (f"; {plural(warnings, 'warning')}" if warnings else ""), 0


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for machines."""
    return {
        "target": plan.target.name,
        "refused": bool(plan.errors),
        "nodes": [
            {
                "stage": n.stage.name,
                "run": n.directory.name,
                "id": n.id,
                "directory": str(n.directory),
                "state": n.state,
                "reason": n.reason,
                "inputs": {k: i.id for k, i in n.inputs.items()},
                "cost": {k: getattr(n.cost, k) for k in type(n.cost).__dataclass_fields__},
                "facts": dict(n.facts),
                "findings": [_finding(f, n) for f in n.findings],
            }
            for n in plan.nodes
        ],
    }


def _finding(finding: Finding, node: Node) -> dict[str, str | None]:
    fields = {k: getattr(finding, k) for k in ("id", "severity", "path", "message", "help")}
    return fields | {"origin": node.origins.find(finding.path)}
