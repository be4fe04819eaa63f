"""``albor diff A B``: what two runs differ in, config first, then what came out."""

from __future__ import annotations

from typing import Any

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint, table
from albor.runs.manifest import Manifest
from albor.runs.store import Run, Store, outputs_of


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 2:
        raise bad("`albor diff` compares two runs", "albor diff A B; `albor runs` lists them")
    store = Store(outputs_of(arguments.overrides))
    left, right = (store.find(w) for w in arguments.words)
    a, b = left.manifest, right.manifest
    names = ["", f"{a.stage}/{left.directory.name}", f"{b.stage}/{right.directory.name}"]
    sections = {
        "config": differences(a.config, b.config),
        "inputs": differences(inputs(a), inputs(b)),
        "facts": differences(a.facts, b.facts),
        "environment": differences(a.environment, b.environment),
    }
    for title, rows in sections.items():
        if rows:
            print(paint(title, "bold"))
            print(table([names, *rows]))
    if a.stage == b.stage == "eval":
        compare(left, right, names[1:])
    if not any(sections.values()):
        print("the same config, inputs, facts and environment")
    return 0


def compare(left: Run, right: Run, names: list[str]) -> None:
    """For the tasks that both evaluations have: whether one passes more, problem by problem."""
    from albor.evals import problems

    tasks = sorted(left.manifest.facts.get("scores", {}).keys() & right.manifest.facts.get("scores", {}).keys())
    rows = [
        [
            found.task,
            f"{found.count:,}",
            *(f"{100 * share:.1f}" for share in (found.left, found.right)),
            f"{100 * found.test.mean:+.1f} ({100 * found.test.low:+.1f} to {100 * found.test.high:+.1f})",
            f"{found.test.two_sided:.4f}",
        ]
        for found in problems.compare(left.artifact, right.artifact, tasks)
    ]
    if rows:
        print(paint("problem by problem: percent passed, the difference with its 95% interval, sign-flip test", "bold"))
        print(table([["task", "problems", *names, "difference", "p"], *rows], right=(1, 2, 3, 4, 5)))


def inputs(run: Manifest) -> dict[str, str]:
    return {name: f"{ref.id} {(ref.digest or '')[:12]}".strip() for name, ref in run.inputs.items()}


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[list[str]]:
    """[dotted key, left, right] where two nested mappings differ."""
    left, right = flatten(a), flatten(b)
    keys = [*left, *(k for k in right if k not in left)]
    return [[k, show(left, k), show(right, k)] for k in keys if left.get(k, ...) != right.get(k, ...)]


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}{key}.") if isinstance(item, dict) and item else {f"{prefix}{key}": item}
    return flat


def show(flat: dict[str, Any], key: str) -> str:
    value = flat.get(key, "–")
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
