"""What a training run wrote into its metrics, line by line: also what a resume wrote again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from albor.audit.item import Unknowable
from albor.runs.metrics import NAME
from albor.runs.replay import COMPARED

Entry = dict[str, Any]


@dataclass(frozen=True)
class Log:
    directory: Path

    @cached_property
    def entries(self) -> list[Entry]:
        """The lines in their order; those that a killed process left torn are passed over."""
        path = self.directory / NAME
        if not path.exists():
            raise Unknowable(f"{self.directory.name} has no {NAME}")
        found = []
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    found.append(entry)
        return found

    @cached_property
    def steps(self) -> list[Entry]:
        """The lines of training steps, those that were written again too. Raises Unknowable when there is none."""
        found = [entry for entry in self.entries if "lr" in entry and isinstance(entry.get("step"), int)]
        if not found:
            raise Unknowable(f"{NAME} of {self.directory.name} has no training step")
        return found

    @cached_property
    def validations(self) -> dict[int, float]:
        """Step to validation loss."""
        return {entry["step"]: entry["val_loss"] for entry in self.entries if entry.get("val_loss") is not None}

    @property
    def rewinds(self) -> list[tuple[int, int]]:
        """(step reached, step gone on from) of every resume that trained steps again."""
        return [(a["step"], b["step"]) for a, b in pairwise(self.steps) if b["step"] <= a["step"]]

    @property
    def repeated(self) -> int:
        """Lines of steps that were trained again."""
        return len(self.steps) - len({entry["step"] for entry in self.steps})

    def not_finite(self) -> Iterator[str]:
        """Numbers that are none, and where."""
        for entry in self.entries:
            for key, value in entry.items():
                if value is None or (isinstance(value, float) and not math.isfinite(value)):
                    yield f"{key} at step {entry.get('step')}"

    def differing(self) -> Iterator[str]:
        """Steps that came to something else when they were trained again, and in what."""
        first: dict[int, Entry] = {}
        for entry in self.steps:
            before = first.setdefault(entry["step"], entry)
            names = [key for key in COMPARED if key in before and key in entry and entry[key] != before[key]]
            if names:
                yield f"{', '.join(names)} of step {entry['step']:,}"

    def values(self, key: str) -> list[float]:
        return [entry[key] for entry in self.steps if entry.get(key) is not None]
