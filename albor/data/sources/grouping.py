"""How the items of a source become tasks of about the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from albor.data.sources import base

Item = tuple[str, int]
"""What the source calls it, and its size in bytes."""


def group(items: Iterable[Item]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Runs of items in their order, each with its size; a run ends with the item that fills it to TASK_BYTES."""
    run: list[str] = []
    filled = 0
    for name, size in items:
        run.append(name)
        filled += size
        if filled >= base.TASK_BYTES:
            yield tuple(run), filled
            run, filled = [], 0
    if run:
        yield tuple(run), filled
