"""Text as it comes, token by token: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol

from albor.inference.prompts import Tokens

BROKEN = "\ufffd"
"""What bytes become that are no character, or not yet."""


class Decoding(Protocol):
    """Tokens in, text out."""

    def feed(self, ids: Sequence[int]) -> str:
        """The text that is certain now and was not before."""

    def close(self) -> str:
        """What was held back, now that nothing follows."""


class ByBytes:
    """For tokens that spell bytes."""

    def __init__(self, spellings: Sequence[bytes]) -> None:
        self._spellings = spellings
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Sequence[int]) -> str:
        known = self._spellings
        # Rows of an embedding beyond the vocabulary stand for nothing.
        return self._decoder.decode(b"".join([known[token] for token in ids if token < len(known)]))

    def close(self) -> str:
        return self._decoder.decode(b"", final=True)


class ByWindow:
    """For any others: the last tokens are decoded again with those that follow, since what they stand for may depend on
    each other."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._ids: list[int] = []
        self._shown = self._read = 0
        """The text of ids[:read] is known; ids[shown:read] are decoded again."""

    def feed(self, ids: Sequence[int]) -> str:
        self._ids += ids
        return self._more(final=False)

    def close(self) -> str:
        return self._more(final=True)

    def _more(self, *, final: bool) -> str:
        before = self._tokens.decode(self._ids[self._shown : self._read])
        whole = self._tokens.decode(self._ids[self._shown :])
        if not final and (len(whole) <= len(before) or whole.endswith(BROKEN)):
            return ""
        self._shown, self._read = self._read, len(self._ids)
        return whole[len(before) :]


class Spelling:
    """The text of new tokens, up to the first stop string, which may also be a control token."""

    def __init__(self, tokens: Tokens, stop: Sequence[str] = ()) -> None:
        spellings = tokens.spellings
        self._decoding: Decoding = ByWindow(tokens) if spellings is None else ByBytes(spellings)
        self._stop = tuple(word for word in stop if word)
        self._longest = max(map(len, self._stop), default=1) - 1
        controls = tokens.controls if self._stop else {}
        self._ends = {controls[word] for word in self._stop if word in controls}
        self._known = ""
        self.text = ""
        """What can be shown: no later token changes it."""
        self.starts: list[int] = []
        """Where in the text each token begins, or is taken to: of one that was not read yet, where the text ended."""
        self.stopped = False

    def feed(self, ids: Sequence[int]) -> None:
        """More tokens. What comes after a stop string is left out."""
        for token in ids:
            if self.stopped:
                return
            if token in self._ends:
                self.close()
                self.stopped = True
                return
            self.starts.append(len(self._known))
            if new := self._decoding.feed((token,)):
                self._look(new)

    def close(self) -> None:
        """Nothing follows: what was held back belongs to the text."""
        if not self.stopped:
            self._look(self._decoding.close())
            if not self.stopped:
                self.text = self._known

    def _look(self, new: str) -> None:
        """Looks for stop strings in what has come."""
        since = max(0, len(self._known) - self._longest)
        self._known += new
        if not self._stop:
            self.text = self._known
            return
        places = [place for word in self._stop if (place := self._known.find(word, since)) >= 0]
        if places:
            self._known = self.text = self._known[: min(places)]
            self.stopped = True
            return
        held = max((n for word in self._stop for n in range(1, len(word)) if self._known.endswith(word[:n])), default=0)
        self.text = self._known[: len(self._known) - held]
