"""What each step took, kept and rejected, and how long it worked."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from albor.data.card import StepRow

T = TypeVar("T")


@dataclass
class Funnel:
    """Documents and bytes on their way through named steps, each of which sees what the one before it kept."""

    steps: tuple[str, ...]
    taken: Counter[str] = field(default_factory=Counter)
    bytes_taken: Counter[str] = field(default_factory=Counter)
    bytes_rejected: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def take(self, step: str, size: int, reason: str | None) -> bool:
        """Counts a document of ``size`` bytes at ``step``; whether it was rejected."""
        self.taken[step] += 1
        self.bytes_taken[step] += size
        if reason is None:
            return False
        self.rejected[step][reason] += 1
        self.bytes_rejected[step] += size
        return True

    def take_many(
        self,
        step: str,
        sizes: NDArray[np.int64],
        taken: NDArray[np.bool_],
        rejected: NDArray[np.bool_],
        reasons: str | Sequence[str | None],
    ) -> None:
        """As ``take`` for many: masks of those that the step sees and of those that it rejects, and why (each)."""
        self.taken[step] += int(taken.sum())
        self.bytes_taken[step] += int(sizes[taken].sum())
        self.bytes_rejected[step] += int(sizes[rejected].sum())
        victims = np.flatnonzero(rejected).tolist()
        self.rejected[step].update(reasons if isinstance(reasons, str) else str(reasons[i]) for i in victims)

    def rows(self) -> list[StepRow]:
        return [
            StepRow(
                name=step,
                taken=self.taken[step],
                kept=self.taken[step] - self.rejected[step].total(),
                rejected=dict(sorted(self.rejected[step].items())),
                bytes_taken=self.bytes_taken[step],
                bytes_kept=self.bytes_taken[step] - self.bytes_rejected[step],
            )
            for step in self.steps
        ]


def add(parts: Iterable[Iterable[StepRow]]) -> list[StepRow]:
    """The rows of several funnels over the same steps, summed."""
    return [
        StepRow(
            name=rows[0].name,
            taken=sum(r.taken for r in rows),
            kept=sum(r.kept for r in rows),
            rejected=dict(sorted(sum((Counter(r.rejected) for r in rows), Counter()).items())),
            bytes_taken=sum(r.bytes_taken for r in rows),
            bytes_kept=sum(r.bytes_kept for r in rows),
        )
        for rows in zip(*parts, strict=True)
    ]


class Stopwatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; the time it takes to get each counts."""
        stream = iter(items)
        while True:
            with self(name):
                item = next(stream, _END)
            if item is _END:
                return
            yield item


def rates(size: int, parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds, and MB/s over ``size`` bytes, of each kind of work on one core; nothing if a part was there."""
    if not all(parts):
        return {}
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part)
    found = {f"seconds/{name}": spent for name, spent in seconds.items()}
    return found | {f"mb_per_second/{name}": size / 1e6 / spent for name, spent in seconds.items() if spent}


_END: Any = object()
