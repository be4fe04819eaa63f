"""A place in a document at the moment that something is asked about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from albor.serve.documents import Document


@dataclass(frozen=True)
class Spot:
    """The cursor in a document. What is edited later changes nothing here."""

    uri: str
    document: Document
    cursor: int
    """Characters before it."""

    @property
    def before(self) -> str:
        """The text up to the cursor, in lines that end in ``\\n``."""
        return self._head.replace("\r\n", "\n")

    @property
    def after(self) -> str:
        """The text from the cursor on, in lines that end in ``\\n``."""
        return self._tail.replace("\r\n", "\n")

    def typed_on(self, now: Document | None) -> Spot | None:
        """The spot behind what was typed here since, if that is the rest of a word and nothing else was edited."""
        if now is None or not (now.text.startswith(self._head) and now.text.endswith(self._tail)):
            return None
        end = len(now.text) - len(self._tail)
        return Spot(self.uri, now, end) if re.fullmatch(r"\w+", now.text[self.cursor : end]) else None

    @property
    def _head(self) -> str:
        return self.document.text[: self.cursor]

    @property
    def _tail(self) -> str:
        return self.document.text[self.cursor :]
