"""Text as it comes, token by token: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from albor.inference.prompts import Tokens

BROKEN = "\ufffd"
"""What bytes become that are no character, or not yet."""


class Spelling:
    """The text of new tokens, up to the first stop string, which may also be a control token."""

    def __init__(self, tokens: Tokens, stop: Sequence[str] = ()) -> None:
        self._tokens, self._stop = tokens, tuple(word for word in stop if word)
        controls = tokens.controls if self._stop else {}
        self._ends = {controls[word] for word in self._stop if word in controls}
        self._ids: list[int] = []
        self._shown = self._read = 0
        """The text of ids[:read] is known; that of ids[shown:read] is read again with what follows it, since the bytes
        of a character may be of several tokens."""
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
            self._ids.append(token)
            self._spell(final=False)

    def close(self) -> None:
        """Nothing follows: what was held back belongs to the text."""
        if not self.stopped:
            self._spell(final=True)
            self.text = self._known

    def _spell(self, *, final: bool) -> None:
        before = self._tokens.decode(self._ids[self._shown : self._read])
        whole = self._tokens.decode(self._ids[self._shown :])
        if not final and (len(whole) <= len(before) or whole.endswith(BROKEN)):
            return
        known = len(self._known)
        self._known += whole[len(before) :]
        self._shown, self._read = self._read, len(self._ids)
        self._look(known)

    def _look(self, known: int) -> None:
        """Looks for stop strings in what came after the first ``known`` characters."""
        longest = max(map(len, self._stop), default=1) - 1
        since = max(0, known - longest)
        places = [place for word in self._stop if (place := self._known.find(word, since)) >= 0]
        if places:
            self._known = self.text = self._known[: min(places)]
            self.stopped = True
            return
        held = max((n for word in self._stop for n in range(1, len(word)) if self._known.endswith(word[:n])), default=0)
        self.text = self._known[: len(self._known) - held]
