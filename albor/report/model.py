"""What a report shows, as plain data. Nothing here reads a file or computes a number: the caller measured them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Number = int | float
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Headline:
    """The figures of the tiles; ``None`` is "not measured" and is shown as such or left out, never guessed."""

    parameters: int | None = None
    tokens: int | None = None
    steps: int | None = None
    val_ppl_before: float | None = None
    val_ppl_after: float | None = None
    bits_per_byte: float | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None
    vocab_size: int | None = None
    """Perplexity of an untrained model: where this run's perplexity scale begins."""
    planned_steps: int | None = None
    """``trainer.max_steps``, to show how far an interrupted run came."""


@dataclass(frozen=True)
class Ancestor:
    """One run of the lineage."""

    stage: str
    name: str
    id: str
    sha256: str = ""
    """Digest of its artifact; empty while it has none."""
    seconds: float | None = None
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    """Counts worth a glance, the most telling first: the first two are drawn, all of them on hover."""
    inputs: Sequence[str] = ()
    """Its inputs, each an ``id``, a ``stage/name`` or a ``name`` of the same list; others are ignored."""
    state: str = ""
    """What became of it, where these are told apart: done, given, gone."""


@dataclass(frozen=True)
class Score:
    """One benchmark's figure, in percent."""

    task: str
    metric: str
    value: float
    low: float
    high: float
    """Ends of its 95% interval."""
    problems: int
    samples: int = 1
    floor: float | None = None
    """What passes without an answer."""
    known: Sequence[tuple[str, float]] = ()
    """Other models and what they score."""


@dataclass(frozen=True)
class Report:
    """One training run and its evaluation. Only the first four fields are needed; an absent part is left out."""

    title: str
    run_id: str
    stage: str
    status: str
    """``done``, ``failed``, ``interrupted`` or ``running``; any other word is shown as it is."""
    started: str | None = None
    """ISO 8601, with its offset; ``finished`` likewise."""
    finished: str | None = None
    note: str = ""
    """One sentence under the title: why the run failed, or what it was for."""
    headline: Headline = field(default_factory=Headline)
    metrics: Sequence[Mapping[str, Number]] = ()
    """Rows as ``metrics.read_metrics`` returns them: training rows, and validation rows (those with ``val_loss``)."""
    samples: Sequence[tuple[str, str]] = ()
    """(prompt, completion)."""
    evaluation: Mapping[str, Number] = field(default_factory=dict)
    scores: Sequence[Score] = ()
    config: Mapping[str, object] = field(default_factory=dict)
    """The resolved config, nested."""
    lineage: Sequence[Ancestor] = ()
    """From the sources to this run, this run included (the one whose ``id`` is ``run_id``), in any order."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """git commit, lock hash, python, torch, machine, …: shown in this order."""
    command: str = ""
    """The command that made the run, as typed."""
