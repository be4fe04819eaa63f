"""Which slot has read the beginning of a prompt already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

LEAST = 16
"""Tokens in common that are worth a copy."""


class Prefixes:
    """What each slot holds, or will hold once its prompt is read.

    With ``whole``, only equal prompts count: keys and values that steps have computed are rounded otherwise than those
    that were read, so what is reused would depend on what ran before.
    """

    def __init__(self, count: int, *, whole: bool) -> None:
        self._whole = whole
        self._held: list[tuple[int, ...]] = [()] * count
        self._by_key: dict[tuple[int, ...], set[int]] = {}

    def hold(self, slot: int, ids: Sequence[int]) -> None:
        """From now on the slot holds these instead of what it held."""
        self._forget(slot)
        self._held[slot] = tuple(ids)
        if key := self._key(self._held[slot]):
            self._by_key.setdefault(key, set()).add(slot)

    def exchange(self, one: int, other: int) -> None:
        ours, theirs = self._held[one], self._held[other]
        self.hold(one, theirs)
        self.hold(other, ours)

    def held(self, slot: int) -> int:
        return len(self._held[slot])

    def find(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Slots, and how many of the first tokens each shares with ``ids``."""
        ids = tuple(ids)
        for slot in self._by_key.get(self._key(ids), ()):
            yield slot, common(ids, self._held[slot])

    def _key(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return ids if self._whole else ids[:LEAST] if len(ids) >= LEAST else ()

    def _forget(self, slot: int) -> None:
        key = self._key(self._held[slot])
        if key:
            self._by_key[key].discard(slot)
            if not self._by_key[key]:
                del self._by_key[key]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many of the first tokens are the same."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return count
    return min(len(one), len(other))
