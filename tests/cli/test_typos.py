"""Typing mistakes: all refused, the right word proposed (the measurement is bench/typos.py)."""

from __future__ import annotations

import pytest

from bench.typos import measure, mistakes, total


@pytest.mark.parametrize("made", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_typing_mistakes(made: int) -> None:
    tallies = measure(made)
    whole = total(tallies)
    assert whole.made == made and tallies.keys() == {"key", "choice", "value"}
    assert whole.refused == made, [m for t in tallies.values() for m in t.misses if m[2] == "ACCEPTED"]
    assert whole.first >= 0.95 * made, [m for t in tallies.values() for m in t.misses]
    assert all(t.first >= 0.9 * t.made for t in tallies.values())


def test_the_mistakes_are_the_same_every_time_and_never_valid() -> None:
    groups = {"model": ["tiny", "small"]}
    made = mistakes(300, 5, groups)
    assert made == mistakes(300, 5, groups) != mistakes(300, 6, groups)
    assert all(typed not in word.valid for word, typed in made)
