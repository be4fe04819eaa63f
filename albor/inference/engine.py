"""What evaluation, bench and serving ask of an engine: token ids in, token ids out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

STOP_EVERY = 8
"""New tokens between two questions to ``Request.stop``."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One continuation that is wanted."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    seed: int = 0
    """Of the request's random numbers, 0 to 2^64 - 1. Equal requests get equal continuations."""
    stop: Callable[[Sequence[int]], bool] | None = None
    """True once the new tokens so far suffice. It is asked when their number is a multiple of STOP_EVERY, so up to
    STOP_EVERY - 1 more than were needed may be returned: the same ones whenever and beside whatever it runs."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.seed < 1 << 64:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens}, seed {self.seed}: at least 1, and 0 to 2^64 - 1, are needed"
            )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float = 0.0
    """0 takes the likeliest token each time, the first of several."""
    top_p: float = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum (Holtzman et al., 2020); of tokens exactly as
    likely as the last of them, all stay."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"{self}: temperature >= 0 and 0 < top_p <= 1 are needed")


@dataclass(frozen=True)
class Score:
    """How well a row was predicted."""

    nll: float
    """Summed negative log-likelihood of its labels, in nats."""
    count: int
    """Labels that were not ignored."""


Ids = Sequence[int]
Found = Generator[tuple[int, list[int]], None, None]
"""Requests' indices and new tokens, as they are finished."""


class Generates(Protocol):
    """One loaded model that continues texts."""

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its continuation may have together."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Found:
        """Each request's index and its new tokens, without the end-of-text token, as it finishes.

        A continuation follows from its request and the sampling alone, up to rounding: not from the other requests,
        their order, or how many are computed at a time. Ends early where the context is full. Equal prompts are read
        once. Raises ValueError for an empty prompt or one that fills the context, before anything is generated.
        """


class Engine(Generates, Protocol):
    """One loaded model."""

    def score(self, tokens: Sequence[Ids], labels: Sequence[Ids]) -> list[Score]:
        """One score per row; a label is the token after its place, or -100 where nothing is asked."""

    def loglikelihood(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[float, bool]]:
        """For each context and continuation: the summed log-probability (nats) of the continuation's tokens, and
        whether each of them was the likeliest.

        What does not fit is left out at the beginning of the context. Raises ValueError where either is empty, or where
        the continuation alone is longer than the model's context.
        """


def derive_seed(seed: int, *names: object) -> int:
    """A seed of its own for what ``names`` say, a task and the number of a sample for example."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:8], "little")
