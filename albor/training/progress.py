"""How far a run has come: the part of a checkpoint that is numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Progress:
    step: int = 0
    """The last step done."""
    tokens: int = 0
    """Training tokens read, over all ranks."""
    seconds: float = 0.0
    """Wall-clock time spent training, validations and checkpoints included, over all resumed parts."""
    loader: Any = None
    """The loader's position after the last step done."""
    initial: dict[str, float | int] = field(default_factory=dict)
    """Metrics of the validation before step 1."""
    final: dict[str, float | int] = field(default_factory=dict)
    """Metrics of the latest validation."""
    validated: int = -1
    """The step of the latest validation; a checkpoint is written before the validation of its step."""

    def advance(self, tokens: int, position: Any) -> None:
        self.step += 1
        self.tokens += tokens
        self.loader = position

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Progress:
        return cls(**{entry.name: state[entry.name] for entry in fields(cls)})
