from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.words import numbers, rolling, word_hashes

WORD = re.compile(r"[A-Za-z_0-9]+")
TEXTS = st.text(st.sampled_from("abAB_09 \n\r\t.(\0é中😀\ud800ſK"), max_size=60) | st.text(max_size=60)


@given(TEXTS, TEXTS, st.booleans())
def test_equal_words_and_no_others_have_equal_hashes(first: str, second: str, fold: bool) -> None:
    words = [word.lower() if fold else word for text in (first, second) for word in WORD.findall(text)]
    hashes = np.concatenate([word_hashes(text, fold=fold) for text in (first, second)]).tolist()
    assert len(hashes) == len(words)
    assert len(set(zip(words, hashes, strict=True))) == len(set(words)) == len(set(hashes))


@given(TEXTS)
def test_words_that_begin_with_a_digit_are_numbers(text: str) -> None:
    assert numbers(text).tolist() == [word[0] in "0123456789" for word in WORD.findall(text)]


@given(st.lists(st.sampled_from(["a", "b", "A", "ab"]), max_size=20), st.integers(1, 6))
def test_equal_runs_of_words_and_no_others_have_equal_hashes(words: list[str], n: int) -> None:
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    hashes = rolling(word_hashes(" ".join(words), fold=False), n).tolist()
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 1_000, 200_000])
def test_a_word_has_the_same_hash_wherever_it_stands(length: int) -> None:
    word = "xy_Z0"[: min(length, 5)] * (length // min(length, 5)) + "q" * (length % min(length, 5))
    alone = word_hashes(word, fold=False)
    far = word_hashes("left = (" * 40_000 + word + ")\r\n", fold=False)
    assert alone.shape == (1,)
    assert far[-1] == alone[0]
    assert (far[:-1] != alone[0]).all()


def test_names_that_differ_little_do_not_collide() -> None:
    names = [f"name_{i}" for i in range(200_000)]
    assert len(np.unique(word_hashes(" ".join(names), fold=False))) == len(names)


def test_the_hashes_of_one_text_never_change() -> None:
    """They are kept in files: another value is another format."""
    hashes = word_hashes("Hello, wörld_1", fold=True)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [2163324483675975834, 15769780825290329362, 15087500483078150848]


def test_every_bit_of_a_hash_is_used() -> None:
    hashes = word_hashes(" ".join(f"w{i}" for i in range(50_000)), fold=False)
    shares = [float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
    assert all(abs(share - 0.5) < 5 * 0.5 / 50_000**0.5 for share in shares)
