"""``albor gc [RUN…]``: what nothing refers to any more; freed with ``--yes``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.render import plural, table
from albor.config.units import human_bytes
from albor.runs import collect, trash
from albor.runs.checkpoints import DIRECTORY, numbered
from albor.runs.manifest import Manifest
from albor.runs.progress import Progress
from albor.runs.store import Run, Store, outputs_of
from albor.runs.trash import Item
from albor.stages import base as stages

BETWEEN = frozenset({"documents", "tokenizer", "rows", "instructions", "preferences", "logits", "generations"})
"""What stages make on the way to something; what other stages make is kept for itself."""
LEFT = {"held": "a process holds it", "changed": "it was taken up again", "gone": "another process freed it"}


def run(arguments: Arguments) -> int:
    refuse(arguments)
    root = outputs_of(arguments.overrides)
    rules = collect.Rules(
        days=arguments.days, is_target=is_target, surplus=partial(surplus, keep_last=arguments.keep_last)
    )
    chosen = [Store(root).find(word) for word in arguments.words]
    graph = collect.Graph.of(root)
    items = (
        collect.named(graph, chosen, rules, down=arguments.down) if arguments.words else collect.decide(graph, rules)
    )
    if graph.blind:
        print("a manifest cannot be read, so what it needs is not known: whole runs are kept", file=sys.stderr)
    freed = total(items) if not arguments.yes else free(root, items)
    if arguments.json:
        print(
            json.dumps({"freed": arguments.yes, "bytes": freed, "items": [as_json(i, root) for i in items]}, indent=1)
        )
    else:
        show(items, root, freed=freed, yes=arguments.yes)
    return 0


def refuse(arguments: Arguments) -> None:
    if not arguments.days >= 1:
        raise bad(f"--days {arguments.days:g} would free what waits in a chain or a queue", "--days 1 or more")
    if arguments.keep_last is not None and arguments.keep_last < 0:
        raise bad(f"--keep-last {arguments.keep_last} is no number of checkpoints", "--keep-last 0 or more")
    if arguments.down and not arguments.words:
        raise bad("--down is about what is made from a run, and none is named", "albor gc RUN --down")


def is_target(made: Manifest) -> bool:
    """Whether a finished run is kept though nothing is made from it."""
    return made.stage not in stages.names() or stages.find(made.stage).makes not in BETWEEN


def surplus(found: Run, *, keep_last: int | None) -> Sequence[Path]:
    """A finished run's checkpoints beyond those that its config, or the command, keeps."""
    trainer = found.manifest.config.get("trainer") or {}
    last = trainer.get("keep_last") if keep_last is None else keep_last
    best = trainer.get("keep_best", 0)
    directory = found.directory / DIRECTORY
    if last is None or len(numbered(directory)) <= last:
        return ()
    from albor.training.checkpoint.retention import surplus

    return surplus(directory, keep_last=last, keep_best=best)


def total(items: Sequence[Item]) -> int:
    return sum(item.bytes for item in items)


def free(root: Path, items: Sequence[Item]) -> int:
    """Bytes that were freed; what had to be left is told."""
    if not items:
        return 0
    with Progress("gc") as bar:
        outcomes = trash.free(root, items, lambda done, of: bar(done, of, "deleted"))
    for item, outcome in outcomes:
        if outcome != "freed":
            print(f"left: {shown(item, root)}: {LEFT[outcome]}", file=sys.stderr)
    return sum(item.bytes for item, outcome in outcomes if outcome == "freed")


def show(items: Sequence[Item], root: Path, *, freed: int, yes: bool) -> None:
    if not items:
        print(f"nothing to free in {root}")
        return
    rows = [[human_bytes(item.bytes), shown(item, root), item.why] for item in items]
    print(table([["size", "what", "why"], *rows], right=(0,)))
    runs = Counter(item.manifest is not None for item in items)
    what = f"{plural(runs[True], 'run')} and {plural(runs[False], 'leftover')}"
    if yes:
        print(f"freed: {human_bytes(freed)}, of {what}")
    else:
        print(f"{what}, {human_bytes(freed)}; nothing was freed: --yes does it")


def shown(item: Item, root: Path) -> str:
    return str(item.path.relative_to(root) if item.path.is_relative_to(root) else item.path)


def as_json(item: Item, root: Path) -> dict[str, object]:
    return {"path": shown(item, root), "bytes": item.bytes, "why": item.why, "run": item.manifest is not None}
