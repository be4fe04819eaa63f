"""What evaluation, bench and serving ask of an engine: token ids in, token ids out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to continue a prompt."""

    max_new_tokens: int
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum (Holtzman et al., 2020)."""
    stop: Callable[[Sequence[int]], bool] | None = None
    """True once the new tokens so far suffice; the end-of-text token always ends a continuation."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"{self}: max_new_tokens >= 1, temperature >= 0 and 0 < top_p <= 1 are needed")


@dataclass(frozen=True)
class Score:
    """How well a row was predicted."""

    nll: float
    """Summed negative log-likelihood of its labels, in nats."""
    count: int
    """Labels that were not ignored."""


class Engine(Protocol):
    """One loaded model."""

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its continuation may have together."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        """The new tokens of each prompt, in order, without the end-of-text token.

        A continuation depends on its prompt, on the sampling, and on how many equal prompts came before it: not on the
        other prompts, nor on their order. Ends early where the context is full. Raises ValueError for an empty prompt
        or one that fills the context.
        """

    def score(self, tokens: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> list[Score]:
        """One score per row; a label is the token after its place, or -100 where nothing is asked."""
