"""The nearest valid word to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache


def distance(a: str, b: str) -> int:
    """Edits between two words: insert, delete, replace, or swap two neighbours (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i] + [0] * len(b)
        for j, y in enumerate(b, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        before = above
    return row[-1]


def likeness(a: str, b: str) -> float:
    """Share of characters in common runs; tells words apart that are equally many edits away."""
    return SequenceMatcher(a=a, b=b, autojunk=False).ratio()


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the fewest edits, if it is near enough to be meant."""
    folded = word.casefold()
    edits = {c: distance(folded, c.casefold()) for c in candidates}
    if not edits or (fewest := min(edits.values())) > max(2, len(word) // 3):
        return None
    return min((c for c in edits if edits[c] == fewest), key=lambda c: (-likeness(folded, c.casefold()), c))


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def nearest_key(path: str, keys: Iterable[str]) -> str | None:
    """The valid dotted key that was most likely meant: right leaf in the wrong group, or a few edits away."""
    return _nearest_key(path, tuple(keys))


@lru_cache
def _nearest_key(path: str, keys: tuple[str, ...]) -> str | None:
    # One wrong override is a problem of every stage of a target.
    if not keys:
        return None
    leaf = _leaf(path)
    exact = [k for k in keys if _leaf(k) == leaf]
    if exact:
        return min(exact, key=lambda k: distance(path, k))
    best = nearest(path, keys)
    if best is not None:
        return best
    by_leaf = [(distance(leaf, _leaf(k)), distance(path, k), k) for k in keys]
    edits, _, key = min(by_leaf)
    return key if edits <= max(1, len(leaf) // 3) else None
