"""What several points of a sweep need: it is made once, before them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.job import announce
from albor.cli.points import side_by_side
from albor.cli.render import plural, show_error
from albor.config.schema.sweep import Launcher, RayLauncher, SlurmLauncher
from albor.errors import INTERRUPTED, AlborError
from albor.plan.build import build
from albor.plan.nodes import Node, Plan
from albor.runs import manifest

if TYPE_CHECKING:
    from albor.executors.jobs import Jobs


def shared(plans: Sequence[Plan]) -> list[Node]:
    """The upstream runs that are not done and that several points depend on."""
    users: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    for plan in plans:
        for node in plan.nodes[:-1]:
            users[node.id] = users.get(node.id, 0) + 1
            nodes[node.id] = node
    return [node for id_, node in nodes.items() if node.state != "done" and users[id_] > 1]


def last(nodes: Sequence[Node]) -> list[Node]:
    """Those of which none of the others is made: building them builds all."""
    made_from = {above.id for node in nodes for above in sources(node)}
    return [node for node in nodes if node.id not in made_from]


def sources(node: Node) -> Iterator[Node]:
    """What a run is made from."""
    for given in node.inputs.values():
        if isinstance(given, Node):
            yield given
            yield from sources(given)


def build_here(nodes: Sequence[Node], *, fail_fast: bool) -> int:
    """Builds runs on this machine, or waits for who does. 75 when that was interrupted, else 0."""
    for node in nodes:
        try:
            code = build(node.directory, announce, lambda directory, run: None, shared=True)
        except AlborError as error:
            show_error(error)
            code = error.exit_code
        if code == INTERRUPTED or (code and fail_fast):
            return code if code == INTERRUPTED else 0
    return 0


def build_there(nodes: Sequence[Node], jobs: Jobs, place: Path, begun: Callable[[], None], *, fail_fast: bool) -> int:
    """``build_here``, as jobs."""
    if not nodes:
        return 0
    print(f"first what several points need: {plural(len(nodes), 'run')}", file=sys.stderr)
    return side_by_side([node.directory.absolute() for node in nodes], jobs, place, begun, fail_fast=fail_fast)


def undone(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if manifest.load(node.directory).status != "done"]


def able(plans: Sequence[Plan], first: Sequence[Node], *, fail_fast: bool) -> list[Path]:
    """The runs of the points, each once; not of those that need what could not be made, which is said."""
    failed = undone(first)
    ids = {node.id for node in failed}
    ready = [plan for plan in plans if not any(node.id in ids for node in plan.nodes)]
    if failed:
        # Of a chain, the first: the others are not done because it is not.
        roots = [node for node in failed if not any(above.id in ids for above in sources(node))]
        names, count = ", ".join(node.name for node in roots), len(plans) - len(ready)
        print(f"{plural(count, 'point')} cannot start without {names}", file=sys.stderr)
    if failed and fail_fast:
        print("--fail-fast: the other points are not started", file=sys.stderr)
        return []
    return list(dict.fromkeys(plan.target.directory.absolute() for plan in ready))


def elsewhere(launcher: Launcher) -> bool:
    """Whether points run on other machines than this one."""
    return isinstance(launcher, SlurmLauncher | RayLauncher)
