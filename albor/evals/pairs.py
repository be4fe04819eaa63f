"""Pairs to prefer by, from completions that were judged."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from albor.data.chat import Message
from albor.data.pairs import Pair
from albor.evals.journal import Record


def pairs(records: Iterable[Record], *, per_problem: int) -> Iterator[Pair]:
    """Completions that passed, each with one to the same prompt that did not; at most ``per_problem`` of a problem.

    ``records`` are those of ``scoring.judge`` (problem, prompt, completion, verdict); prompts are asked as a user does.
    Equal completions count once, those that both passed and did not never. Problems come in the records' order, their
    completions in that of a hash; when there are fewer of one kind they are used again, but no pair twice.
    """
    found: dict[tuple[str, str], dict[str, set[bool]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        found[record["problem"], record["prompt"]][record["completion"].strip()].add(record["verdict"] == "passed")
    for (problem, prompt), completions in found.items():
        ordered = sorted(
            filter(None, completions), key=lambda text: hashlib.sha256(f"{problem}\0{text}".encode()).digest()
        )
        passed, failed = ([text for text in ordered if completions[text] == {kind}] for kind in (True, False))
        for a, b in _matched(len(passed), len(failed), per_problem):
            yield Pair((Message("user", prompt),), passed[a], failed[b])


def _matched(passed: int, failed: int, most: int) -> Iterator[tuple[int, int]]:
    """At most ``most`` different pairs of numbers below ``passed`` and ``failed``, every number as soon as possible."""
    longer = max(passed, failed)
    for turn in range(min(passed, failed)):
        for number in range(longer)[: max(0, most - turn * longer)]:
            yield (number, (number + turn) % failed) if passed == longer else ((number + turn) % passed, number)
