"""The word that was meant."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albor.config.suggest import distance, likeness, nearest, nearest_key

WORDS = st.text("abc", max_size=6)
KEYS = ["optim.lr", "optim.betas", "trainer.max_steps", "data.filters.secrets", "data.seq_len", "seed"]


def textbook(a: str, b: str) -> int:
    """Optimal string alignment by its definition, last characters first."""
    if not a or not b:
        return len(a) + len(b)
    fewest = min(textbook(a[:-1], b) + 1, textbook(a, b[:-1]) + 1, textbook(a[:-1], b[:-1]) + (a[-1] != b[-1]))
    if a[-2:] == b[-2:][::-1] and len(a) > 1:
        fewest = min(fewest, textbook(a[:-2], b[:-2]) + 1)
    return fewest


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(WORDS, WORDS)
@example("ab", "ba")
@example("ba", "ab")
@example("ca", "abc")
@example("cab", "cba")
@example("abab", "baba")
@example("abcba", "bacab")
@example("aab", "aba")
@example("", "abc")
def test_the_distance_is_the_textbooks(a: str, b: str) -> None:
    assert distance(a, b) == textbook(a, b)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(WORDS, WORDS, WORDS)
def test_the_distance_is_symmetric_and_zero_for_equals_alone(a: str, b: str, end: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a + end, b + end) == distance(a, b)


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [
        ("", "", 0),
        ("lr", "lr", 0),
        ("lr", "rl", 1),
        ("kitten", "sitting", 3),
        ("pretrian", "pretrain", 1),
        ("abc", "", 3),
        ("a", "abcd", 3),
        ("xaby", "xbay", 1),
        ("xabyab", "xbayba", 2),
        ("aabb", "bbaa", 3),
    ],
)
def test_distances_known_by_heart(a: str, b: str, edits: int) -> None:
    assert distance(a, b) == distance(b, a) == edits


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [("abcd", "abcd", 1), ("abcd", "wxyz", 0), ("tide", "diet", 0.25), ("diet", "tide", 0.5), ("abcd", "bcde", 0.75)],
)
def test_likeness_is_the_share_in_common_runs(a: str, b: str, share: float) -> None:
    assert likeness(a, b) == share


def test_likeness_forgets_no_frequent_letter_of_long_words() -> None:
    assert likeness("y" + "ab" * 150, "ab" * 150 + "z") == 600 / 602


@pytest.mark.parametrize(
    ("word", "candidates", "meant"),
    [
        ("tinny", ["small", "tiny", "50m"], "tiny"),
        ("TINNY", ["small", "tiny"], "tiny"),
        ("tinny", ["small", "TiNy"], "TiNy"),
        ("lr", [], None),
        ("lr", ["seed"], None),
        # Two edits are always near enough, three from nine letters on, four from twelve.
        ("ab", ["cd"], "cd"),
        ("abcdefgh", ["abcdefXX"], "abcdefXX"),
        ("abcdefgh", ["abcdeXXX"], None),
        ("abcdefghi", ["abcdefXXX"], "abcdefXXX"),
        ("abcdefghi", ["abcdeXXXX"], None),
        ("abcdefghijk", ["abcdefgXXXX"], None),
        ("abcdefghijkl", ["abcdefghXXXX"], "abcdefghXXXX"),
        ("abcdefghijkl", ["abcdefgXXXXX"], None),
    ],
)
def test_the_nearest_is_near_enough_or_none(word: str, candidates: list[str], meant: str | None) -> None:
    assert nearest(word, candidates) == meant
    assert nearest(word, reversed(candidates)) == meant


def test_of_words_equally_many_edits_away_the_likest_is_meant_and_then_the_first_by_name() -> None:
    assert distance("abcd", "bcd") == distance("abcd", "aXcd") == 1
    assert likeness("abcd", "bcd") > likeness("abcd", "aXcd")
    assert nearest("abcd", ["aXcd", "bcd"]) == nearest("abcd", ["bcd", "aXcd"]) == "bcd"
    assert nearest("ABCD", ["aXcd", "bcd", "zbcd"]) == "bcd"
    assert nearest("abcd", ["BCD", "AXCD"]) == "BCD"
    assert nearest("lr", ["lz", "la", "lm"]) == "la"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("lr", "optim.lr"),
        ("model.lr", "optim.lr"),
        ("model.deep.er.lr", "optim.lr"),
        ("secrets", "data.filters.secrets"),
        ("data.secrets", "data.filters.secrets"),
        ("data.seq_le.secrets", "data.filters.secrets"),
        ("model.seed", "seed"),
        ("optim.lrr", "optim.lr"),
        ("optmi.bets", "optim.betas"),
        ("whatever.else.max_step", "trainer.max_steps"),
        ("whatever.else.sceed", "seed"),
        ("whatever.else.lrx", "optim.lr"),
        ("whatever.else.lrxy", None),
        ("whatever.else.secXXts", "data.filters.secrets"),
        ("whatever.else.secXXXs", None),
        ("whatever.else.l", "optim.lr"),
        ("zzzz", None),
    ],
)
def test_the_key_that_was_meant(path: str, meant: str | None) -> None:
    assert nearest_key(path, KEYS) == meant
    assert nearest_key(path, iter(reversed(KEYS))) == meant


def test_of_the_keys_with_the_right_leaf_the_nearest_is_meant() -> None:
    keys = ["tokenizer.name", "model.name", "data.name", "name"]
    for path, meant in (("modle.name", "model.name"), ("tokeniser.name", "tokenizer.name"), ("x.name", "name")):
        assert nearest_key(path, keys) == nearest_key(path, keys[::-1]) == meant


def test_the_right_leaf_far_away_is_meant_before_a_wrong_one_nearby() -> None:
    assert nearest_key("data.size", ["data.sizes", "model.inner.most.size"]) == "model.inner.most.size"
    assert nearest_key("a.b.size", ["a.b.sizes", "size"]) == "size"


def test_of_leaves_equally_near_the_key_nearest_as_a_whole_is_meant() -> None:
    keys = ["alpha.one.width", "omega.two.width", "omega.two.height"]
    assert nearest_key("omegaomega.two.to.widht", keys) == "omega.two.width"
    assert nearest_key("alphaalpha.one.to.widht", keys) == "alpha.one.width"
    assert nearest_key("very.long.and.far.away.widht", ["b.width", "a.width"]) == "a.width"


def test_among_no_keys_none_is_meant() -> None:
    assert nearest_key("lr", []) is None
    assert nearest_key("l" * 400, []) is None
