"""One request and the texts it waits for: whole or in pieces, until they end, it takes too long, or nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec import json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse

from albor.inference.engine import Ended
from albor.inference.loaded import LanguageModel, TokenLogprob
from albor.serve.refusals import Refusal
from albor.serve.worker import Order, Stream, Worker


@dataclass(frozen=True)
class Piece:
    """A part of a text."""

    text: str
    ended: Ended | None
    stream: Stream
    first: bool = True
    """Whether nothing of the text came before."""
    since: int = 0
    """Its tokens are those from here on,"""
    until: int | None = None
    """and before this one; None is all."""

    @classmethod
    def all_of(cls, stream: Stream) -> Piece:
        return cls(stream.text, stream.ended, stream)

    def said(self, model: LanguageModel) -> list[TokenLogprob]:
        """What the model says of its tokens, if it was asked."""
        writing = self.stream.writing
        assert writing is not None
        likelihoods = writing.likelihoods[self.since : self.until]
        return model.said(writing.tokens[self.since : self.since + len(likelihoods)], likelihoods)

    @property
    def offsets(self) -> list[int]:
        """Where in the text its tokens begin."""
        writing = self.stream.writing
        assert writing is not None
        return writing.spelling.starts[self.since : self.since + len(writing.likelihoods[self.since : self.until])]


class Exchange:
    """Texts of one request; what it no longer waits for is cancelled."""

    def __init__(
        self, request: Request, worker: Worker, orders: list[Order], timeout: float, *, patience: float | None = None
    ) -> None:
        """Raises Refusal when they cannot be queued. ``timeout`` (seconds) is an error, ``patience`` an end."""
        self.request, self.worker, self.timeout, self.patience = request, worker, timeout, patience
        self.streams = worker.submit(orders)
        self._late = False

    async def whole(self) -> Sequence[Stream]:
        """All of them, when all have ended. Raises Refusal."""
        for stream in self.streams:
            stream.watched = False
        async with aclosing(self.pieces()) as pieces:
            async for _ in pieces:
                pass
        return self.streams

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """What is new of each, with its index. Raises Refusal when one fails, or all of it takes too long."""
        shown, told = [-1] * len(self.streams), [0] * len(self.streams)
        left = set(range(len(self.streams)))
        changed = self.streams[0].changed
        with self._attended():
            while left:
                await changed.wait()
                changed.clear()
                if self._late:
                    raise Refusal(504, f"the answer took longer than {self.timeout:g} s", code="timeout")
                for index in sorted(left):
                    stream = self.streams[index]
                    if stream.failure is not None:
                        raise stream.failure
                    # In this order: the thread that writes says last that it has ended.
                    ended, text = stream.ended, stream.text
                    count = len(stream.writing.likelihoods) if stream.writing else 0
                    if ended is None and len(text) <= max(shown[index], 0):
                        continue
                    first, new = shown[index] < 0, text[max(shown[index], 0) :]
                    shown[index] = len(text)
                    if ended is not None:
                        left.discard(index)
                    yield index, Piece(new, ended, stream, first, told[index], count)
                    told[index] = count

    @contextmanager
    def _attended(self) -> Iterator[None]:
        """Meanwhile the client may go, or time may run out."""
        loop = asyncio.get_running_loop()
        gone = loop.create_task(self._gone())
        timers = [loop.call_later(self.timeout, self._expire)]
        if self.patience is not None:
            timers.append(loop.call_later(self.patience, self._cancel))
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            gone.cancel()
            self._cancel()

    def _expire(self) -> None:
        self._late = True
        self.streams[0].changed.set()

    async def _gone(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        for stream in self.streams:
            self.worker.cancel(stream)


async def read_body(request: Request, most: int) -> bytes:
    """Raises Refusal when it is larger, or is not said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site can send a text without asking; JSON it cannot.
        raise Refusal(415, "the body must be sent as content-type: application/json", param="content-type")
    too_large = Refusal(413, f"the body is larger than {most:,} bytes", code="request_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise too_large
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
    except ClientDisconnect:
        raise Refusal(400, "the client went away") from None
    return b"".join(parts)


def events(parts: AsyncIterator[dict[str, Any]], *, end: bool) -> StreamingResponse:
    """Server-sent events; ``end`` closes them as OpenAI does. An error after the first is an event, too."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for part in parts:
                yield b"data: " + json.encode(part) + b"\n\n"
        except Refusal as refusal:
            yield b"data: " + json.encode(refusal.content) + b"\n\n"
        if end:
            yield b"data: [DONE]\n\n"

    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)
