"""The HTTP API: completions and chats as OpenAI has them, ``/infill`` as llama.cpp has it, health and metrics."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import json
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from albor.inference.loaded import TokenLogprob
from albor.serve import answers
from albor.serve.exchange import Exchange, Piece, events, read_body
from albor.serve.guard import Guard, Settings
from albor.serve.metrics import Metrics
from albor.serve.page import playground
from albor.serve.refusals import Refusal, bad
from albor.serve.requests import (
    DEFAULT_TOKENS,
    ChatRequest,
    Common,
    CompletionRequest,
    InfillRequest,
    parse,
    sampling,
    stops,
)
from albor.serve.served import Served
from albor.serve.worker import Order, Stream

MOST_OF_HOLE = 256
"""Tokens of a hole where nobody says how many."""
Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """The endpoints over the models that are served; the first of them answers where none is named."""

    def __init__(self, models: Mapping[str, Served], settings: Settings) -> None:
        self.models, self.settings = models, settings
        self.metrics = Metrics({name: served.worker for name, served in models.items()})
        self.draining = False
        """Whether the server is being stopped."""

    def app(self) -> Guard:
        routes = [
            Route("/", self._answering(self.page)),
            Route("/health", self._answering(self.health)),
            Route("/metrics", self._answering(self.prometheus)),
            Route("/v1/models", self._answering(self.list_models)),
            Route("/v1/models/{name}", self._answering(self.one_model)),
            Route("/v1/completions", self._answering(self.completions), methods=["POST"]),
            Route("/v1/chat/completions", self._answering(self.chat), methods=["POST"]),
            Route("/infill", self._answering(self.infill), methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: unknown, Exception: failed}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self.settings, self.metrics)

    def _answering(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Refusal as refusal:
                return refused(refusal)

        return answer

    def find(self, name: str) -> Served:
        """Raises Refusal when no such model is served."""
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            listed = ", ".join(self.models)
            raise Refusal(404, f"there is no model '{name}' here: {listed}", code="model_not_found", param="model")
        return self.models[name]

    # --- what there is ---

    async def page(self, request: Request) -> Response:
        return Response(playground(), media_type="text/html")

    async def health(self, request: Request) -> Response:
        broken = {name: served.worker.broken for name, served in self.models.items() if served.worker.broken}
        status = "broken" if broken else "stopping" if self.draining else "ok"
        return answered({"status": status, "models": [*self.models], "broken": broken}, 200 if status == "ok" else 503)

    async def prometheus(self, request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type="text/plain; version=0.0.4")

    async def list_models(self, request: Request) -> Response:
        return answered({"object": "list", "data": [model_entry(served) for served in self.models.values()]})

    async def one_model(self, request: Request) -> Response:
        return answered(model_entry(self.find(request.path_params["name"])))

    # --- texts ---

    async def completions(self, request: Request) -> Response:
        asked = parse(await read_body(request, self.settings.max_body), CompletionRequest)
        asked.refuse_unsupported()
        served = self.find(asked.model)
        most = DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens
        prompts = asked.prompts(served.vocab_size)
        framed = [await served.text(prompt, asked.suffix, most) for prompt in prompts]
        echoes = [await self._echo(served, prompt, one.ids, asked) for prompt, one in zip(prompts, framed, strict=True)]
        count, told = asked.n or 1, asked.logprobs
        if most == 0:
            choices = [
                answers.text_choice(number, text, "length", said)
                for number, (text, said) in enumerate(echo for echo in echoes for _ in range(count))
            ]
            used = answers.usage(sum(len(one.ids) for one in framed), 0, 0)
            return answered(envelope("text_completion", "cmpl", served, choices, used))
        orders = [
            order
            for number, one in enumerate(framed)
            for order in served.orders(
                one,
                count=count,
                sampling=asked.sampling(),
                seed=asked.seed,
                stop=stops(asked.stop),
                told=told,
                number=number,
            )
        ]

        def choice(index: int, piece: Piece) -> dict[str, Any]:
            echo, said = echoes[index // count]
            new = None if told is None else text_logprobs(served, piece, len(echo))
            if not piece.first:
                return answers.text_choice(index, piece.text, piece.ended, new)
            return answers.text_choice(index, echo + piece.text, piece.ended, joined(said, new))

        return await self._write(request, served, asked, orders, "text_completion", "cmpl", choice, choice)

    async def _echo(
        self, served: Served, prompt: str | list[int], ids: Sequence[int], asked: CompletionRequest
    ) -> tuple[str, dict[str, Any] | None]:
        """The prompt as it is given back before its continuation, and what the model says of it."""
        if not asked.echo:
            return "", None
        model, start = served.model, 1 if isinstance(prompt, str) else 0
        text = prompt if isinstance(prompt, str) else model.codec.decode(prompt, skip_special=False)
        if asked.logprobs is None:
            return text, None
        told = asked.logprobs
        found = model.said(ids[1:], await served.worker.call(lambda: model.engine.likelihoods(ids, told)))
        spelled = [model.spell(token) for token in ids[start:]]
        offsets = [len(model.codec.decode(ids[start:place], skip_special=False)) for place in range(start, len(ids))]
        said: list[TokenLogprob | None] = [*([None] if not start else []), *found]
        return text, answers.text_logprobs(said, spelled, offsets)

    async def chat(self, request: Request) -> Response:
        asked = parse(await read_body(request, self.settings.max_body), ChatRequest)
        asked.refuse_unsupported()
        served = self.find(asked.model)
        most = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
        if most == 0:
            raise bad("max_completion_tokens: at least 1 is needed", "max_completion_tokens")
        framed = await served.conversation(asked.messages, most)
        orders = served.orders(
            framed,
            count=asked.n or 1,
            sampling=asked.sampling(),
            seed=asked.seed,
            stop=stops(asked.stop),
            told=(asked.top_logprobs or 0) if asked.logprobs else None,
        )

        def said(piece: Piece) -> dict[str, Any] | None:
            return answers.chat_logprobs(piece.said(served.model)) if asked.logprobs else None

        def whole(index: int, piece: Piece) -> dict[str, Any]:
            return answers.chat_choice(index, piece.text, piece.ended, said(piece))

        def delta(index: int, piece: Piece) -> dict[str, Any]:
            return answers.delta_choice(index, piece.text, piece.ended, said(piece), first=piece.first)

        kind = "chat.completion.chunk" if asked.stream else "chat.completion"
        return await self._write(request, served, asked, orders, kind, "chatcmpl", whole, delta)

    async def _write(
        self,
        request: Request,
        served: Served,
        asked: Common,
        orders: list[Order],
        kind: str,
        prefix: str,
        whole: Callable[[int, Piece], dict[str, Any]],
        part: Callable[[int, Piece], dict[str, Any]],
    ) -> Response:
        """Has texts written and answers with all of them, or with their parts as they come."""
        exchange = Exchange(request, served.worker, orders, self.settings.timeout)
        frame = envelope(kind, prefix, served, [])
        if not asked.stream:
            streams = await exchange.whole()
            self._measure(served, streams)
            choices = [whole(index, Piece.all_of(stream)) for index, stream in enumerate(streams)]
            return answered({**frame, "choices": choices, "usage": usage_of(streams, asked.n or 1)})

        async def parts() -> AsyncIterator[dict[str, Any]]:
            async for index, piece in exchange.pieces():
                yield {**frame, "choices": [part(index, piece)]}
            self._measure(served, exchange.streams)
            if asked.stream_options is not None and asked.stream_options.include_usage:
                yield {**frame, "choices": [], "usage": usage_of(exchange.streams, asked.n or 1)}

        return events(parts(), end=True)

    # --- holes ---

    async def infill(self, request: Request) -> Response:
        asked = parse(await read_body(request, self.settings.max_body), InfillRequest)
        served = self.find(asked.model)
        most = MOST_OF_HOLE if asked.n_predict is None or asked.n_predict < 0 else asked.n_predict
        prefix = asked.input_prefix + asked.prompt
        framed = await served.hole(prefix, asked.input_suffix, asked.input_extra or [], most)
        orders = served.orders(
            framed,
            count=1,
            sampling=sampling(asked.temperature, asked.top_p, asked.top_k, default_temperature=0.0),
            seed=None if asked.seed is None or asked.seed < 0 else asked.seed,
            stop=stops(asked.stop),
            told=None,
        )
        patience = asked.t_max_predict_ms / 1000 if asked.t_max_predict_ms and asked.t_max_predict_ms > 1 else None
        exchange = Exchange(request, served.worker, orders, self.settings.timeout, patience=patience)

        def answer(piece: Piece) -> dict[str, Any]:
            """Of a request for no tokens, which only has the prompt read, nothing is said."""
            if most == 0:
                piece = Piece("", piece.ended, piece.stream)
            return hole_answer(served, piece, cut=framed.cut)

        if not asked.stream:
            (stream,) = await exchange.whole()
            self._measure(served, [stream])
            found = answer(Piece.all_of(stream))
            return answered(answers.only(found, asked.response_fields) if asked.response_fields else found)

        async def parts() -> AsyncIterator[dict[str, Any]]:
            async for _, piece in exchange.pieces():
                yield answer(piece) if piece.ended else {"content": piece.text, "stop": False}
            self._measure(served, exchange.streams)

        return events(parts(), end=False)

    def _measure(self, served: Served, streams: Sequence[Stream]) -> None:
        now = time.perf_counter()
        for stream in streams:
            if stream.first is not None and stream.writing is not None:
                self.metrics.first_token.labels(served.name).observe(stream.first - stream.began)
                if (later := len(stream.writing.made.tokens) - 1) > 0:
                    self.metrics.per_token.labels(served.name).observe((now - stream.first) / later)


def answered(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.encode(content), status, headers, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    headers = {"retry-after": "1"} if refusal.status in (429, 503) else None
    return answered(refusal.content, refusal.status, headers)


async def unknown(request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if error.status_code == 405:
        return refused(Refusal(405, f"{path} takes no {request.method}"))
    return refused(Refusal(404, f"there is no {path} here", code="unknown_url"))


async def failed(request: Request, error: Exception) -> Response:
    """Starlette writes the traceback to the log."""
    return refused(Refusal(500, "the server failed; its log says how", code="server_failed"))


def model_entry(served: Served) -> dict[str, Any]:
    model = served.model
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "albor",
        "source": served.source,
        "context": model.context,
        "fills_holes": model.fills,
        "answers_messages": model.chats,
    }


def envelope(
    kind: str, prefix: str, served: Served, choices: list[Any], used: dict[str, Any] | None = None
) -> dict[str, Any]:
    found = {
        "id": f"{prefix}-{random.getrandbits(96):024x}",
        "object": kind,
        "created": int(time.time()),
        "model": served.name,
        "system_fingerprint": served.source,
        "choices": choices,
    }
    return {**found, "usage": used} if used else found


def usage_of(streams: Sequence[Stream], choices: int) -> dict[str, Any]:
    """A prompt counts once for all its choices."""
    made = [stream.writing for stream in streams if stream.writing is not None]
    return answers.usage(
        sum(len(stream.order.prompt) for stream in streams[::choices]),
        sum(len(writing.made.tokens) for writing in made),
        sum(writing.made.reused for writing in made[::choices]),
    )


def text_logprobs(served: Served, piece: Piece, start: int) -> dict[str, Any]:
    found = piece.said(served.model)
    return answers.text_logprobs(found, [one.token for one in found], [start + offset for offset in piece.offsets])


def joined(first: dict[str, Any] | None, then: dict[str, Any] | None) -> dict[str, Any] | None:
    """Log-probabilities of an echo and of what follows it."""
    return {name: [*first[name], *then[name]] for name in then} if first and then else then


def hole_answer(served: Served, piece: Piece, *, cut: bool) -> dict[str, Any]:
    stream = piece.stream
    writing, now = stream.writing, time.perf_counter()
    assert writing is not None and piece.ended is not None
    first = stream.first or now
    read, made = len(stream.order.prompt) - writing.made.reused, len(writing.made.tokens)
    reading, writing_for = 1000 * (first - stream.began), 1000 * (now - first)
    return {
        "index": 0,
        "content": piece.text,
        "stop": True,
        "stop_type": answers.STOP_TYPES[piece.ended],
        "model": served.name,
        "tokens_predicted": made,
        "tokens_evaluated": len(stream.order.prompt),
        "tokens_cached": len(stream.order.prompt) + made,
        "truncated": cut,
        "timings": {
            "cache_n": writing.made.reused,
            "prompt_n": read,
            "prompt_ms": reading,
            "prompt_per_second": 1000 * read / reading if reading else 0.0,
            "predicted_n": made,
            "predicted_ms": writing_for,
            "predicted_per_second": 1000 * (made - 1) / writing_for if writing_for and made > 1 else 0.0,
        },
    }
