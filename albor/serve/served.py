"""A model that is served, and the orders that requests become."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from albor.data.chat import Message, Role
from albor.errors import AlborError
from albor.inference.engine import Sampling, derive_seed
from albor.inference.loaded import LanguageModel
from albor.inference.prompts import FimOrder, Framed, TextRequest
from albor.serve.refusals import Refusal, bad
from albor.serve.requests import ChatMessage, Extra
from albor.serve.worker import Order, Worker

LONG = 20_000
"""Characters from which on a text is tokenized beside the server's own thread."""
T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    name: str
    worker: Worker
    source: str
    """The run or directory that it comes from."""
    fim: FimOrder
    """The order in which holes are filled."""
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def model(self) -> LanguageModel:
        return self.worker.model

    @property
    def vocab_size(self) -> int:
        return self.model.codec.vocab_size

    # --- prompts ---

    async def text(self, prompt: str | list[int], suffix: str | None, most: int) -> Framed:
        """A prompt for up to ``most`` new tokens. Raises Refusal when it does not fit, or there is a suffix and the
        model fills no holes."""
        if isinstance(prompt, list):
            if suffix is not None:
                raise bad("a prompt of token ids takes no suffix", "suffix")
            framed = Framed(tuple(prompt), min(most, self.model.context - len(prompt)), False)
        else:
            request = TextRequest(prompt=prompt, suffix=suffix, fim=self.fim, max_new_tokens=max(most, 1))
            framed = await self._framed(request, "suffix")
        if framed.cut or framed.room < min(most, 1):
            raise self.too_long(len(framed.ids))
        return framed

    async def hole(self, prefix: str, suffix: str, extra: Sequence[Extra], most: int) -> Framed:
        """What is around a hole, as much of it as fits; ``extra`` are other files."""
        around = "".join(f"# {one.filename}\n{one.text.rstrip()}\n\n" for one in extra)
        request = TextRequest(
            prompt=around + prefix, suffix=suffix, fim=self.fim, max_new_tokens=max(most, 1), steady=True
        )
        return await self._framed(request, "input_suffix")

    async def conversation(self, messages: Sequence[ChatMessage], most: int | None) -> Framed:
        """Messages, for up to ``most`` new tokens or as many as there is room for. Raises Refusal."""
        roles: dict[str, Role] = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}
        given = [Message(roles[message.role], message.text) for message in messages]
        size = sum(len(message.content) for message in given)
        ids = await self._beside(size, lambda: self.model.conversation(given), "messages")
        room = self.model.context - len(ids)
        if room < 1:
            raise self.too_long(len(ids))
        return Framed(tuple(ids), min(most or room, room), False)

    def too_long(self, length: int) -> Refusal:
        return bad(
            f"the prompt has {length} tokens or more; the model's context has room for {self.model.context} tokens "
            "of prompt and answer together",
            "prompt",
            "context_length_exceeded",
        )

    async def _framed(self, request: TextRequest, param: str) -> Framed:
        size = len(request.prompt) + len(request.suffix or "")
        return await self._beside(size, lambda: self.model.frame(request), param)

    async def _beside(self, size: int, function: Callable[[], T], param: str) -> T:
        try:
            return await asyncio.to_thread(function) if size > LONG else function()
        except AlborError as error:
            raise bad(error.cause, param, "unsupported_by_model") from None

    # --- orders ---

    def orders(
        self,
        framed: Framed,
        *,
        count: int,
        sampling: Sampling,
        seed: int | None,
        stop: tuple[str, ...],
        told: int | None,
        number: int = 0,
    ) -> list[Order]:
        """``count`` texts behind a prompt, the ``number``-th of its request; with a seed they are always the same."""
        base = random.getrandbits(63) if seed is None else seed
        return [
            Order(
                prompt=framed.ids,
                max_new_tokens=framed.room,
                sampling=sampling,
                seed=derive_seed(base, number, choice),
                stop=stop,
                told=told,
            )
            for choice in range(count)
        ]
