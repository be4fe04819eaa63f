"""What a contract may say, read off its source: every finding that it yields, with … for what the config fills in."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from albor.contracts.base import Check

UNKNOWN = "…"
"""What only a config can say."""


@dataclass(frozen=True)
class Message:
    """A finding as it stands in the code."""

    severity: str
    path: str
    text: str
    help: str


def messages(check: Check) -> list[Message]:
    """The findings of a contract and of the functions of its module that it calls."""
    found, seen, waiting = [], set[str](), [check.__name__]
    module: Any = inspect.getmodule(check)
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(module, name))))
        found += list(_findings(tree))
        calls = [
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        waiting += [
            called for called in calls if getattr(getattr(module, called, None), "__module__", "") == module.__name__
        ]
    return found


def _findings(tree: ast.Module) -> Iterator[Message]:
    names = [
        (node.targets[0].id, node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]

    def said(node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            before = [value for name, line, value in names if name == node.id and line < node.lineno]
            return said(before[-1]) if before else UNKNOWN
        if isinstance(node, ast.JoinedStr):
            return "".join(said(part) for part in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.IfExp):
            both = [said(node.body), said(node.orelse)]
            return " / ".join(dict.fromkeys(both)) if UNKNOWN not in both else UNKNOWN
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return said(node.left) + said(node.right)
        return UNKNOWN

    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Yield, ast.Return))
            and isinstance(node.value, ast.Tuple)
            and len(node.value.elts) == 4
        ):
            severity, path, text, help_ = (said(part) for part in node.value.elts)
            yield Message(severity, path, text, help_)
