"""What the package itself imports, and what it says it needs."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import albor

NAME = "albor"
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Imports:
    modules: int
    """Packages of others that some module imports."""
    undeclared: list[str]
    """Those installed here that neither a declared dependency is nor one of these brings along."""
    absent: list[str]
    """Those not installed here, of which nothing can be said."""


def imports() -> Imports | None:
    """None when the package is not installed, and so declares nothing."""
    try:
        declared = requirements(NAME)
    except metadata.PackageNotFoundError:
        return None
    homes = metadata.packages_distributions()
    texts = (path.read_text(encoding="utf-8") for path in Path(albor.__file__).parent.rglob("*.py"))
    names = sorted({module for text in texts for module in imported(text)})
    absent = [name for name in names if name not in homes]
    brought = declared.union(*(requirements(name) for name in declared if installed(name)))
    undeclared = [
        name for name in names if name in homes and not brought.intersection(normal(home) for home in homes[name])
    ]
    return Imports(len(names), undeclared, absent)


@cache
def imported(text: str) -> frozenset[str]:
    """The packages of others that a module imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
        for module in modules:
            head = module.partition(".")[0]
            if head != NAME and head not in sys.stdlib_module_names:
                found.add(head)
    return frozenset(found)


def requirements(distribution: str) -> set[str]:
    """What a distribution declares to need, extras included, under normal names."""
    found = (REQUIREMENT.match(text) for text in metadata.requires(distribution) or ())
    return {normal(match.group()) for match in found if match}


def installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
