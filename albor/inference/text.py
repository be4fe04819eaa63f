"""Text in, text out: what evaluation and serving ask of a model, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from albor.inference.engine import LIKELIEST, STOP_EVERY, Generates, Request, Sampling

SMALLEST_ROOM = 4
"""A prompt is cut so far that a fraction of the context, one in so many, is left for what follows."""


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
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Control tokens are left out, or shown as they are written."""


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """A text to continue or, with a suffix, a hole to fill."""

    prompt: str
    suffix: str | None = None
    fim: Literal["psm", "spm"] = "psm"
    sampling: Sampling = LIKELIEST
    seed: int = 0
    max_new_tokens: int | None = None
    """Most tokens of the answer; null is what fits."""
    max_length: int | None = None
    """Most tokens of prompt and answer together."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""


@dataclass(frozen=True)
class Answer:
    text: str
    tokens: int | None
    """New tokens computed, those after a stop string included; None where the model does not say."""
    cut_prompt: bool = False
    """Whether the prompt's beginning was left out to make room."""


class Writer(Protocol):
    """A model that answers."""

    def write(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Answer]]:
        """Each request's index and its answer, as it is ready."""


class NoFim(Exception):
    """The model's tokenizer has no fill-in-the-middle tokens."""


class EngineWriter:
    """An engine and its tokenizer."""

    def __init__(self, engine: Generates, tokens: Tokens, *, start_id: int | None = None) -> None:
        """``start_id`` is the token that texts begin with; without one they follow the end of another."""
        self._engine, self._tokens = engine, tokens
        self._start_id = tokens.eos_id if start_id is None else start_id

    def write(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Answer]]:
        """Raises NoFim."""
        asked, cut, never = [], [], []
        for index, request in enumerate(requests):
            ids, room, shortened = self._prompt(request)
            cut.append(shortened)
            if room < 1:
                never.append(index)
            else:
                stop = self._stopper(request.stop) if request.stop else None
                made = Request(prompt=ids, max_new_tokens=room, sampling=request.sampling, seed=request.seed, stop=stop)
                asked.append((index, made))
        for index in never:  # the prompt alone is as long as both may be
            yield index, Answer("", 0)
        for place, new in self._engine.generate([made for _, made in asked]):
            index = asked[place][0]
            text, _ = self._until(new, requests[index].stop)
            yield index, Answer(text, len(new), cut[index])

    def _prompt(self, request: TextRequest) -> tuple[tuple[int, ...], int, bool]:
        """The prompt's ids, the new tokens there is room for, and whether the prompt had to be cut.

        A model has seen text only behind the end of another, so a prompt is given that end too.
        """
        tokens, context = self._tokens, self._engine.context
        prefix = tokens.encode(request.prompt)
        suffix = tokens.encode(request.suffix) if request.suffix is not None else []
        wanted = request.max_new_tokens or context
        frame = 1 if request.suffix is None else 4
        if request.max_length is not None:
            wanted = min(wanted, request.max_length - len(prefix) - len(suffix) - frame)
        most = context - max(1, min(wanted, context // SMALLEST_ROOM)) - frame
        shortened = len(prefix) + len(suffix) > most
        if shortened:
            after = min(len(suffix), max(most // 2, most - len(prefix)))
            prefix, suffix = prefix[len(prefix) - (most - after) :], suffix[:after]
        if request.suffix is None:
            ids = [self._start_id, *prefix]
        else:
            ids = [self._start_id, *self._infill(prefix, suffix, request.fim)]
        return tuple(ids), min(wanted, context - len(ids)), shortened

    def _infill(self, prefix: list[int], suffix: list[int], order: Literal["psm", "spm"]) -> list[int]:
        fim = self._tokens.fim
        if fim is None:
            raise NoFim
        if order == "spm":
            return [fim.prefix, fim.suffix, *suffix, fim.middle, *prefix]
        return [fim.prefix, *prefix, fim.suffix, *suffix, fim.middle]

    def _stopper(self, stop: Sequence[str]) -> Callable[[Sequence[int]], bool]:
        # A token is at least a byte, so a stop string that has come up since the last look lies in these.
        span = STOP_EVERY + max(len(word.encode()) for word in stop)

        def stopped(ids: Sequence[int]) -> bool:
            last = ids[-span:]
            # One look is enough nearly always, and for hundreds of rows they keep the host as busy as the device is.
            shown = self._tokens.decode(last, skip_special=False)
            return any(word in shown for word in stop) and self._until(last, stop)[1]

        return stopped

    def _until(self, ids: Sequence[int], stop: Sequence[str]) -> tuple[str, bool]:
        """The text before the first stop string, which may also be a control token, and whether there was one."""
        tokens = self._tokens
        text = tokens.decode(ids)
        if stop and tokens.decode(ids, skip_special=False) != text:
            ends = [n for n, token in enumerate(ids) if tokens.decode([token], skip_special=False) in stop]
            if ends:
                return cut_at(tokens.decode(ids[: ends[0]]), stop), True
        cut = cut_at(text, stop)
        return cut, len(cut) < len(text)


def cut_at(text: str, stop: Sequence[str]) -> str:
    """``text`` up to the first of the stop strings."""
    ends = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
