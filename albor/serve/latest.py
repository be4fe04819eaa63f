"""Of questions about the same thing only the latest is worth answering."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

Key = tuple[str, str]
"""The document that is asked about, and what is asked."""


class Latest:
    """At most one question for each key. A newer one ends the one before it, and so does an edit of its document."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[str]] = {}

    async def ask(self, key: Key, question: Coroutine[Any, Any, str]) -> str | None:
        """The answer; None when it was overtaken. Cancelling this cancels the question."""
        self._end(key)
        asked = self._running[key] = asyncio.create_task(question)
        try:
            await asyncio.wait({asked})
        finally:
            asked.cancel()
            latest = self._running.get(key) is asked
            if latest:
                del self._running[key]
        return asked.result() if latest else None

    def asking(self, key: Key) -> bool:
        """Whether a question waits for its answer."""
        return key in self._running

    def edited(self, document: str) -> None:
        """Ends what was asked about the document as it was."""
        for key in [key for key in self._running if key[0] == document]:
            self._end(key)

    def _end(self, key: Key) -> None:
        if overtaken := self._running.pop(key, None):
            overtaken.cancel()
