"""What a comparison is made of, as plain data. Nothing here reads a file: the caller gathered it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from albor.report.comparison.columns import Columns
from albor.report.model import Score

SEED = "seed"
DONE = "done"
FINALS = ("val_loss", "val_ppl", "val_bits_per_byte", "tokens")
"""Metrics whose last value a finished run has among its facts."""
ROWS = "validation rows"
"""The task of a pairing that compares losses."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluation of a run's model."""

    name: str
    """Of the evaluation's run."""
    rows: str
    """What it read: equal for equal validation rows."""
    val_loss: float | None = None
    val_ppl: float | None = None
    bits_per_byte: float | None = None
    scores: Sequence[Score] = ()
    """Shares in percent, with their 95% intervals."""
    samples: Sequence[tuple[str, str]] = ()
    """(prompt, completion)."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run that trained, finished or not."""

    id: str
    name: str
    """Of its directory."""
    stage: str
    label: str
    status: str
    """``done``, ``running``, ``interrupted``, ``failed``, ``planned``, or ``dead`` for one whose process is gone."""
    error: str = ""
    directory: str = ""
    command: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What determines its result, dotted key to value: its own keys, and those of what it was made from."""
    columns: Columns
    finals: Mapping[str, float] = field(default_factory=dict)
    """Of ``FINALS``, what the run recorded when it was done: its log may have been cut since."""
    planned_steps: int | None = None
    seconds: float | None = None
    """How long it took; None where its manifest does not say."""
    flops_per_token: int | None = None
    """Forward and backward of the model that is trained; a teacher's are not in it."""
    rows: str = ""
    """What it was validated on: equal for equal rows, read to an equal length."""
    documents: str = ""
    """Equal where those rows were made of the same held-out documents, by whatever tokenizer."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """git commit, host, torch …: what a number may depend on beside the settings."""
    tracking: tuple[str, str] = ("albor", "")
    """(project, entity) of Weights & Biases."""
    evaluation: Evaluated | None = None

    @property
    def seed(self) -> str:
        return self.settings.get(SEED, "")


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed."""

    label: str
    entries: Sequence[Entry]

    @property
    def finished(self) -> Sequence[Entry]:
        return [entry for entry in self.entries if entry.status == DONE]

    @property
    def counted(self) -> Sequence[Entry]:
        """Those whose figures are its own: the finished ones, where there are any."""
        return self.finished or self.entries

    def named(self, entry: Entry) -> str:
        """What one of its runs is called among those of all groups."""
        return f"{self.label} seed={entry.seed}" if len(self.entries) > 1 and entry.seed else self.label

    def by_seed(self) -> dict[str, Entry]:
        """Its counted runs by seed; of a second run of a seed, the name tells."""
        found: dict[str, Entry] = {}
        for entry in self.counted:
            found[entry.seed if entry.seed not in found else f"{entry.seed} ({entry.name})"] = entry
        return found


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Two evaluated models on the same problems or rows, one by one."""

    group: str
    against: str
    task: str
    count: int
    difference: float
    """Mean of group minus against: in percent of the problems, or in nats a token."""
    low: float
    high: float
    """Ends of its 95% bootstrap interval."""
    p: float
    """Of a sign-flip test."""
    unit: str
    better: int
    """1 where more is better, -1 where less is."""


@dataclass(frozen=True)
class Path:
    """Evaluated models, each made from the one before."""

    name: str
    rungs: Sequence[tuple[str, Evaluated]]
    """(rung, evaluation)."""
    entries: Sequence[str] = ()
    """Ids of the compared runs among them."""
