"""Texts that are written side by side, and can be read while they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from albor.inference.engine import Continuation, Ended, Ids, Likelihood, Request, Sampling, Session
from albor.inference.prompts import Tokens
from albor.inference.spelling import Spelling


@dataclass(eq=False)
class Writing:
    """One text that is being written."""

    made: Continuation
    spelling: Spelling
    ended: Ended | None = None
    """As ``Continuation``'s; "stop" also before a stop string."""
    seen: int = 0
    """Tokens that the text has been told of."""
    likelihoods: list[Likelihood] = field(default_factory=list)
    """One for each token of the text, if they were asked for."""

    @property
    def text(self) -> str:
        """What there is of it; it only grows."""
        return self.spelling.text

    @property
    def tokens(self) -> list[int]:
        """Those that the text is made of, the one in which it was cut included."""
        return self.made.tokens[: len(self.spelling.starts)]

    def read(self) -> None:
        """Takes over what has come of the tokens."""
        self.spelling.feed(self.made.tokens[self.seen :])
        self.seen = len(self.made.tokens)
        self.likelihoods = self.made.likelihoods[: len(self.spelling.starts)]
        if self.spelling.stopped:
            self.ended = self.ended or "stop"
        elif self.made.ended:
            self.ended = self.ended or self.made.ended
            self.spelling.close()


class Desk:
    """A session and the tokenizer of its model. One thread has it at a time."""

    def __init__(self, session: Session, tokens: Tokens) -> None:
        self.session, self._tokens = session, tokens
        self._under_way: dict[int, Writing] = {}

    @property
    def idle(self) -> bool:
        return self.session.idle

    def write(
        self,
        prompt: Ids,
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seed: int,
        stop: Sequence[str] = (),
        told: int | None = None,
    ) -> Writing:
        """Begins a text behind the tokens of a prompt. Raises ValueError when there is no room for it."""
        request = Request(prompt=tuple(prompt), max_new_tokens=max_new_tokens, sampling=sampling, seed=seed, told=told)
        writing = Writing(self.session.add(request), Spelling(self._tokens, stop))
        self._under_way[id(writing.made)] = writing
        return writing

    def cancel(self, writing: Writing) -> None:
        """Ends a text where it is, if it has not ended."""
        self.session.cancel(writing.made)
        self._under_way.pop(id(writing.made), None)
        writing.ended = writing.ended or "cancelled"

    def advance(self) -> list[Writing]:
        """Goes on with all of them; those that have news."""
        news = []
        for made in self.session.advance():
            writing = self._under_way[id(made)]
            writing.read()
            if writing.ended:
                self.session.cancel(made)
                del self._under_way[id(made)]
            news.append(writing)
        return news
