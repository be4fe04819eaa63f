"""What a dataclass says of its fields: the texts below them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools


def field_docs(cls: type) -> dict[str, str]:
    """Field name to the docstring below it, inherited fields too."""
    docs = {}
    for schema in (base for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base)):
        body = ast.parse(inspect.getsource(schema)).body[0].body  # type: ignore[attr-defined]
        for node, after in itertools.pairwise(body):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                docs[ast.unparse(node.target)] = " ".join(str(after.value.value).split())
    return docs
