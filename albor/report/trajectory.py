"""What a ladder's page shows, as plain data: one rung after the other, measured alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from albor.report.model import Ancestor, Score


@dataclass(frozen=True)
class Rung:
    """A rung's model. ``None`` is "not measured"."""

    name: str
    """base, distill, instruct, merged, pruned, q4."""
    stage: str
    run_id: str
    how: str
    """What was done to the rung before, in a few words."""
    parameters: int | None = None
    bytes: int | None = None
    """Of the file that holds the weights."""
    val_ppl: float | None = None
    bits_per_byte: float | None = None
    scores: Sequence[Score] = ()
    """Shares in percent, with their 95% intervals."""
    ms_per_token: float | None = None
    engine: str = ""
    """What computed it where the time was taken."""
    seconds: float | None = None
    """That its run took."""


@dataclass(frozen=True)
class Trajectory:
    """The rungs of a ladder, first to last."""

    title: str
    run_id: str
    rungs: Sequence[Rung]
    samples: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """Rung to (prompt, completion)."""
    device: str = ""
    """Where the times per token were taken."""
    lineage: Sequence[Ancestor] = ()
    """Every run that the ladder is made of."""
    command: str = ""
