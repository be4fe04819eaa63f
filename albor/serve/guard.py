"""Who may ask: the right host, the right key; and every answer is counted."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from msgspec import json
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from albor.serve.metrics import Metrics
from albor.serve.refusals import Refusal

OPEN = ("/", "/health")
"""Paths that need no key."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    key: str | None = None
    """What clients send as ``Authorization: Bearer KEY``."""
    hosts: tuple[str, ...] | None = None
    """Names by which this server may be addressed; None is any. On a loopback address a page of another site could
    have its own name resolve to it."""
    max_body: int = 1 << 20
    """Bytes of a request."""
    timeout: float = 300.0
    """Seconds of an answer."""


class Guard:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"].count("/") < 4 else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path if message["status"] != 404 else "other", message["status"]).inc()
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            headers = {"www-authenticate": "Bearer"} if refusal.status == 401 else None
            answer = Response(json.encode(refusal.content), refusal.status, headers, media_type="application/json")
            await answer(scope, receive, counted)
            return
        await self._app(scope, receive, counted)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._settings.hosts is not None and name not in self._settings.hosts:
            return Refusal(421, f"this server is not '{name}'", code="unknown_host")
        key = self._settings.key
        if key is None or scope["path"] in OPEN:
            return None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), key.encode()):
            return Refusal(401, "the API key is missing or wrong", code="invalid_api_key")
        return None
