"""The thread that has a model: it writes the texts of many requests side by side."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from albor.inference.engine import Ended, Ids, Sampling
from albor.inference.loaded import LanguageModel
from albor.inference.writing import Desk, Writing
from albor.serve.refusals import Refusal

SHOWN_EVERY, MANY = 0.01, 16
"""Seconds between two looks at a text that is being written, longer where there are more than so many: where tokens
come faster, several come at once. Telling takes the interpreter from the thread that writes."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Order:
    """A text that is wanted."""

    prompt: Ids
    max_new_tokens: int
    sampling: Sampling
    seed: int
    stop: tuple[str, ...] = ()
    told: int | None = None


@dataclass(eq=False)
class Stream:
    """What a request sees of its text; it waits for ``changed``, which is set whenever there is more."""

    order: Order
    loop: asyncio.AbstractEventLoop
    changed: asyncio.Event
    """Of all texts of a request."""
    writing: Writing | None = None
    began: float = field(default_factory=time.perf_counter)
    watched: bool = True
    """Whether somebody looks at it before it ends."""
    first: float | None = None
    """When its first token came."""
    last: float = 0.0
    """When it was shown last."""
    ended: Ended | None = None
    failure: Refusal | None = None

    @property
    def text(self) -> str:
        return self.writing.text if self.writing else ""

    @property
    def over(self) -> bool:
        return self.ended is not None or self.failure is not None


class Worker:
    """Texts of one model. All but ``run`` may be called from other threads."""

    def __init__(self, model: LanguageModel, *, rows: int, most_waiting: int) -> None:
        """Up to ``rows`` texts are written at a time, and ``most_waiting`` wait for their turn."""
        self.model, self.rows, self.most_waiting = model, rows, most_waiting
        self.broken: str | None = None
        """Why the model computes no more."""
        self.tokens = self.read = self.reused = 0
        """Counted since the start: new tokens, tokens of prompts, and how many of those were known already."""
        self._inbox: queue.SimpleQueue[Callable[[Desk], None] | None] = queue.SimpleQueue()
        self._streams: dict[int, Stream] = {}
        """Those under way, by what is written for them."""
        self._open: set[Stream] = set()
        self._calls: set[Future[Any]] = set()
        self._warmed: Future[None] = Future()
        self._lock = threading.Lock()
        """Of the two sets."""
        self._thread = threading.Thread(target=self.run, name="albor-model", daemon=True)

    # --- for the server ---

    @property
    def open(self) -> int:
        """Texts that are wanted and have not ended."""
        return len(self._open)

    def start(self) -> None:
        """Returns when the model has written a little, so that no request waits for what is made once. Raises what that
        raises."""
        self._thread.start()
        self._warmed.result()

    def stop(self, timeout: float | None = None) -> None:
        """Ends the thread after what is under way."""
        self._inbox.put(None)
        self._thread.join(timeout)

    def submit(self, orders: list[Order]) -> list[Stream]:
        """Queues texts. Raises Refusal when too many wait, or the model is broken."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        streams = [Stream(order, loop, changed) for order in orders]
        with self._lock:
            self._refuse_broken()
            if len(self._open) + len(orders) > self.rows + self.most_waiting:
                raise Refusal(429, f"{len(self._open)} texts are wanted already; try again later", code="queue_full")
            self._open.update(streams)
        for stream in streams:
            self._inbox.put(partial(self._begin, stream))
        return streams

    def cancel(self, stream: Stream) -> None:
        """Nobody waits for it any more. Of one that is over there is nothing left to do."""
        if not stream.over:
            self._inbox.put(partial(self._cancel, stream))

    async def call(self, function: Callable[[], T]) -> T:
        """Runs what needs the model in its thread, between two steps. Raises Refusal when the model is broken."""
        future: Future[T] = Future()
        with self._lock:
            self._refuse_broken()
            self._calls.add(future)

        def run(_: Desk) -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)
            with self._lock:
                self._calls.discard(future)

        self._inbox.put(run)
        return await asyncio.wrap_future(future)

    def _refuse_broken(self) -> None:
        if self.broken:
            raise Refusal(503, f"the model computes no more: {self.broken}", code="model_broken")

    # --- in its thread ---

    def run(self) -> None:
        # Here, and not in the thread that starts this one: OpenMP keeps a team of threads for each thread that has
        # computed with it, and with more of them than cores those of llama.cpp sleep where they should spin.
        try:
            self.model.warm()
        except Exception as error:
            self._warmed.set_exception(error)
            return
        self._warmed.set_result(None)
        try:
            desk = self.model.desk()
            while self._take(desk):
                news = desk.advance()
                now = time.perf_counter()
                self._show([self._look(writing, now) for writing in news], now)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self._break(f"{type(error).__name__}: {error}")

    def _take(self, desk: Desk) -> bool:
        """Does what has come in, and waits for it while there is nothing else to do; False at the end."""
        while True:
            try:
                task = self._inbox.get(block=desk.idle)
            except queue.Empty:
                return True
            if task is None:
                if desk.idle:
                    return False
                self._inbox.put(None)  # after what is under way
                return True
            task(desk)

    def _begin(self, stream: Stream, desk: Desk) -> None:
        order = stream.order
        try:
            stream.writing = desk.write(
                order.prompt,
                max_new_tokens=order.max_new_tokens,
                sampling=order.sampling,
                seed=order.seed,
                stop=order.stop,
                told=order.told,
            )
        except ValueError as error:
            stream.failure = Refusal(400, str(error))
            self._close([stream])
            return
        self._streams[id(stream.writing)] = stream
        self.read += len(order.prompt)

    def _cancel(self, stream: Stream, desk: Desk) -> None:
        if stream.writing is not None and not stream.over:
            desk.cancel(stream.writing)
            self._end(stream, "cancelled")
            self._show([stream], time.perf_counter())

    def _look(self, writing: Writing, now: float) -> Stream:
        stream = self._streams[id(writing)]
        stream.first = stream.first or now
        if writing.ended:
            self._end(stream, writing.ended)
        return stream

    def _end(self, stream: Stream, ended: Ended) -> None:
        assert stream.writing is not None
        del self._streams[id(stream.writing)]
        self.tokens += len(stream.writing.made.tokens)
        self.reused += stream.writing.made.reused
        with self._lock:
            self._open.discard(stream)
        stream.ended = ended

    def _show(self, streams: list[Stream], now: float) -> None:
        pause = SHOWN_EVERY * max(1.0, len(self._streams) / MANY)
        due = [s for s in streams if s.over or (s.watched and s.text and now - s.last >= pause)]
        for stream in due:
            stream.last = now
        _wake(due)

    def _close(self, streams: list[Stream]) -> None:
        """Those that have failed are wanted no more."""
        with self._lock:
            self._open.difference_update(streams)
        _wake(streams)

    def _break(self, cause: str) -> None:
        with self._lock:
            self.broken = cause
            left, calls = list(self._open), list(self._calls)
        for stream in left:
            stream.failure = Refusal(500, f"the model failed: {cause}", code="model_failed")
        self._close(left)
        for call in calls:
            call.set_exception(Refusal(500, f"the model failed: {cause}", code="model_failed"))


def _wake(streams: list[Stream]) -> None:
    """Tells those who wait. They wait in one event loop, which is told once."""
    if streams:
        streams[0].loop.call_soon_threadsafe(_set, streams)


def _set(streams: list[Stream]) -> None:
    for stream in streams:
        stream.changed.set()
