"""Text in, text out: what evaluation asks of a model, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from albor.inference.engine import STOP_EVERY, Generates, Request
from albor.inference.prompts import Framing, TextRequest, Tokens


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


class EngineWriter:
    """An engine and its tokenizer."""

    def __init__(self, engine: Generates, tokens: Tokens, *, start_id: int | None = None) -> None:
        self._engine, self._tokens = engine, tokens
        self._framing = Framing(tokens, engine.context, start_id=start_id)

    def write(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Answer]]:
        """Raises NoFim."""
        asked, cut, never = [], [], []
        for index, request in enumerate(requests):
            framed = self._framing.frame(request)
            cut.append(framed.cut)
            if framed.room < 1:
                never.append(index)
            else:
                stop = self._stopper(request.stop) if request.stop else None
                made = Request(
                    prompt=framed.ids,
                    max_new_tokens=framed.room,
                    sampling=request.sampling,
                    seed=request.seed,
                    stop=stop,
                )
                asked.append((index, made))
        for index in never:  # the prompt alone is as long as both may be
            yield index, Answer("", 0)
        for place, new in self._engine.generate([made for _, made in asked]):
            index = asked[place][0]
            text, _ = self._until(new, requests[index].stop)
            yield index, Answer(text, len(new), cut[index])

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
