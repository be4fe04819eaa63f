"""From texts to the token ids of a prompt that fits the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from albor.inference.engine import LIKELIEST, Sampling

SMALLEST_ROOM = 4
"""A prompt is cut so far that a fraction of the context, one in so many, is left for what follows."""
PIECES = 8
"""In how many pieces of a context a steady text is cut."""
FimOrder = Literal["psm", "spm"]
"""Prefix, suffix, middle; or suffix first, so that somebody who goes on typing only adds to the prompt's end."""


class FimTokens(Protocol):
    @property
    def prefix(self) -> int: ...
    @property
    def suffix(self) -> int: ...
    @property
    def middle(self) -> int: ...


class Tokens(Protocol):
    """A tokenizer: text to ids and back, the end of text, and the fill-in-the-middle tokens if it has them."""

    eos_id: int

    @property
    def fim(self) -> FimTokens | None: ...
    @property
    def controls(self) -> Mapping[str, int]:
        """Control tokens, as they are written, and their ids."""

    @property
    def spellings(self) -> Sequence[bytes] | None:
        """The bytes that each id is decoded to; None where a text is not its tokens' bytes in a row."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Control tokens are left out, or shown as they are written."""


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """A text to continue or, with a suffix, a hole to fill."""

    prompt: str
    suffix: str | None = None
    fim: FimOrder = "psm"
    sampling: Sampling = LIKELIEST
    seed: int = 0
    max_new_tokens: int | None = None
    """Most tokens of the answer; None is as many as fit."""
    max_length: int | None = None
    """Most tokens of prompt and answer together."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""
    steady: bool = False
    """What is too long is cut by large pieces: when a little is added to the prompt's end, it begins in the same place
    as before, and what was read serves again."""


class NoFim(Exception):
    """The model's tokenizer has no fill-in-the-middle tokens."""


@dataclass(frozen=True)
class Framed:
    """A prompt as the model reads it."""

    ids: tuple[int, ...]
    room: int
    """New tokens that may follow."""
    cut: bool
    """Whether some of the text had to be left out."""


class Framing:
    """How one model's prompts are made."""

    def __init__(self, tokens: Tokens, context: int, *, start_id: int | None = None) -> None:
        """``start_id`` is the token that texts begin with; without one they follow the end of another."""
        self._tokens, self._context = tokens, context
        self._start_id = tokens.eos_id if start_id is None else start_id

    def frame(self, request: TextRequest) -> Framed:
        """Raises NoFim.

        A model has seen text only behind the end of another, so a prompt is given that end too.
        """
        tokens = self._tokens
        prefix = tokens.encode(request.prompt)
        suffix = tokens.encode(request.suffix) if request.suffix is not None else []
        wanted = self._context if request.max_new_tokens is None else request.max_new_tokens
        frame = 1 if request.suffix is None else 4
        if request.max_length is not None:
            wanted = min(wanted, request.max_length - len(prefix) - len(suffix) - frame)
        most = self._context - max(1, min(wanted, self._context // SMALLEST_ROOM)) - frame
        cut = len(prefix) + len(suffix) > most
        if cut:
            piece = max(1, self._context // PIECES) if request.steady else 1
            after = min(len(suffix), max(most // 2, (most - len(prefix)) // piece * piece))
            left_out = min(len(prefix), -(-max(0, len(prefix) - (most - after)) // piece) * piece)
            prefix, suffix = prefix[left_out:], suffix[:after]
        ids = [self._start_id, *(prefix if request.suffix is None else self._infill(prefix, suffix, request.fim))]
        return Framed(tuple(ids), min(wanted, self._context - len(ids)), cut)

    def _infill(self, prefix: list[int], suffix: list[int], order: FimOrder) -> list[int]:
        fim = self._tokens.fim
        if fim is None:
            raise NoFim
        if order == "spm":
            return [fim.prefix, fim.suffix, *suffix, fim.middle, *prefix]
        return [fim.prefix, *prefix, fim.suffix, *suffix, fim.middle]
