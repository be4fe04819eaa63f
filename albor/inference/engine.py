"""What evaluation, bench and serving ask of an engine: token ids in, token ids out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

STOP_EVERY = 8
"""New tokens between two questions to ``Request.stop``."""
Told = Callable[[int, int], None]
"""What hears how far something is: how many are done, of how many."""
MOST_TOLD, MOST_TOP_K = 20, 128
"""Most of the likeliest tokens that can be told at each place; most that ``Sampling.top_k`` can keep."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float = 0.0
    """0 takes the likeliest token each time, the first of several."""
    top_p: float = 1.0
    """Draw from the fewest tokens whose probabilities reach this sum (Holtzman et al., 2020); of tokens exactly as
    likely as the last of them, all stay."""
    top_k: int = 0
    """Before that, keep only so many of the likeliest, and those exactly as likely as the last; 0 keeps all."""

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and 0 < self.top_p <= 1 and 0 <= self.top_k <= MOST_TOP_K):
            raise ValueError(f"{self}: temperature >= 0, 0 < top_p <= 1 and top_k from 0 to {MOST_TOP_K} are needed")


LIKELIEST = Sampling()


def silent(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One continuation that is wanted."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = LIKELIEST
    seed: int = 0
    """Of the request's random numbers, 0 to 2^64 - 1. Equal requests get equal continuations."""
    stop: Callable[[Sequence[int]], bool] | None = None
    """True once the new tokens so far suffice. It is asked when their number is a multiple of STOP_EVERY, so up to
    STOP_EVERY - 1 more than were needed may be returned: the same ones whenever and beside whatever it runs."""
    told: int | None = None
    """How many of the likeliest tokens are told at each place beside the one that was taken; None tells no
    log-probabilities at all."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"{self.max_new_tokens} new tokens: at least 1 is needed")
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed {self.seed}: 0 to 2^64 - 1 is needed")
        if self.told is not None and not 0 <= self.told <= MOST_TOLD:
            raise ValueError(f"told {self.told}: 0 to {MOST_TOLD} tokens can be told")


@dataclass(frozen=True)
class Likelihood:
    """What the model said of a place, before temperature and what follows it."""

    logprob: float
    """Of the token that is there, in nats."""
    likeliest: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens and their log-probabilities, in this order."""


Ended = Literal["end", "length", "stop", "cancelled"]
"""The end-of-text token came; there is no room for more; the request's ``stop`` said so; somebody else did."""


@dataclass(eq=False)
class Continuation:
    """What has come of a request so far."""

    request: Request
    tokens: list[int] = field(default_factory=list)
    """New ones, without the end-of-text token."""
    likelihoods: list[Likelihood] = field(default_factory=list)
    """One for each new token, if the request asked for them."""
    ended: Ended | None = None
    reused: int = 0
    """Tokens of the prompt that did not have to be read."""


class Session(Protocol):
    """Requests that come and go. One thread has it at a time."""

    @property
    def capacity(self) -> int:
        """The most tokens that a prompt and its continuation may have together."""

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or under way."""

    def add(self, request: Request) -> Continuation:
        """Queues a request. Raises ValueError for an empty prompt or one that leaves no room for a token."""

    def cancel(self, continuation: Continuation) -> None:
        """Ends one that has not ended; its place is given to others before the next step."""

    def advance(self) -> list[Continuation]:
        """Reads a part of what is to be read and makes some steps; those that have news, not the cancelled."""


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

    def generate(self, requests: Sequence[Request]) -> Found:
        """Each request's index and its new tokens, without the end-of-text token, as it finishes.

        A continuation follows from its request alone, up to rounding: not from the other requests, their order, or how
        many are computed at a time. Ends early where the context is full. Equal prompts are read once. Raises
        ValueError for an empty prompt or one that fills the context, before anything is generated.
        """


class Engine(Generates, Protocol):
    """One loaded model."""

    @property
    def warmed_by(self) -> Sequence[int]:
        """Lengths of prompts that should be read once before somebody waits for it."""

    def session(self, *, rows: int | None = None, capacity: int | None = None) -> Session:
        """Room for so many continuations at a time, of so many tokens each; null is the engine's own number, and its
        context. What prompts have in common with earlier ones is not read again."""

    def score(self, tokens: Sequence[Ids], labels: Sequence[Ids]) -> list[Score]:
        """One score per row; a label is the token after its place, or -100 where nothing is asked."""

    def loglikelihood(self, pairs: Sequence[tuple[Ids, Ids]], progress: Told = silent) -> list[tuple[float, bool]]:
        """For each context and continuation: the summed log-probability (nats) of the continuation's tokens, and
        whether each of them was the likeliest. ``progress`` hears how many are known.

        What does not fit is left out at the beginning of the context. Raises ValueError where either is empty, or where
        the continuation alone is longer than the model's context.
        """

    def likelihoods(self, ids: Ids, told: int = 0) -> list[Likelihood]:
        """What the model says of every token of a text but the first. Raises ValueError where it is longer than the
        model's context, by more than one token, or has none."""


def derive_seed(seed: int, *names: object) -> int:
    """A seed of its own for what ``names`` say, a task and the number of a sample for example."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:8], "little")
