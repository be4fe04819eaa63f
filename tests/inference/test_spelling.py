"""Text as it comes is the text there is in the end."""

from __future__ import annotations

import copy
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.data.tokenizer import Codec
from albor.inference.spelling import Spelling
from albor.inference.text import cut_at
from tests.models.gguf_example import codec as example_codec

CODEC = example_codec()
OTHER = copy.copy(CODEC)
OTHER.spellings = None
"""The same, were its tokens not known to spell bytes."""
TEXTS = st.text(st.sampled_from("ab \n\té🙂中\u0301\ufffd"), max_size=40)
PIECES = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def fed(ids: list[int], sizes: list[int], stop: tuple[str, ...] = ()) -> tuple[Spelling, list[str]]:
    """Tokens some at a time, and what was shown after each of them; the same whether their bytes are known or not."""
    (found, shown), (other, _) = (one_by_one(codec, ids, sizes, stop) for codec in (CODEC, OTHER))
    assert (found.text, found.stopped) == (other.text, other.stopped)
    return found, shown


def one_by_one(codec: Codec, ids: list[int], sizes: list[int], stop: tuple[str, ...]) -> tuple[Spelling, list[str]]:
    spelling, shown, start, turn = Spelling(codec, stop), [""], 0, 0
    while start < len(ids):
        size = sizes[turn % len(sizes)]
        spelling.feed(ids[start : start + size])
        shown.append(spelling.text)
        start, turn = start + size, turn + 1
    spelling.close()
    return spelling, [*shown, spelling.text]


def grows(shown: list[str]) -> bool:
    return all(later.startswith(before) for before, later in itertools.pairwise(shown))


@settings(max_examples=300, deadline=None)
@given(TEXTS, PIECES)
def test_a_text_comes_back(text: str, sizes: list[int]) -> None:
    spelling, shown = fed(CODEC.encode(text), sizes)
    assert spelling.text == text and grows(shown)
    assert len(spelling.starts) == len(CODEC.encode(text)) and spelling.starts == sorted(spelling.starts)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, CODEC.vocab_size + 5), max_size=30), PIECES)
def test_any_tokens_are_what_they_are_together(ids: list[int], sizes: list[int]) -> None:
    """Also those whose bytes are no text, and control tokens."""
    spelling, shown = fed(ids, sizes)
    assert spelling.text == CODEC.decode(ids) and grows(shown)


@settings(max_examples=500, deadline=None)
@given(TEXTS, PIECES, st.lists(st.text("ab é🙂\n", min_size=1, max_size=4), max_size=3))
def test_it_ends_before_the_first_stop_string(text: str, sizes: list[int], stop: list[str]) -> None:
    """Of which nothing is shown before, whichever tokens it comes in."""
    letters = [token for letter in text for token in CODEC.encode(letter)]
    for ids in (CODEC.encode(text), letters):
        spelling, shown = fed(ids, sizes, tuple(stop))
        assert grows(shown) and spelling.stopped == any(word in text for word in stop)
        # Strings that end together are told apart by where they begin; those that end later were not seen.
        ends = [text.find(word) + len(word) for word in stop if word in text]
        if len(set(ends)) == len(ends) == 1 or not ends:
            assert spelling.text == cut_at(text, stop)
        assert text.startswith(spelling.text) and not any(word in spelling.text for word in stop)


def test_a_control_token_can_end_it() -> None:
    ids = [*CODEC.encode("a = 1"), 8, *CODEC.encode("b")]
    spelling, _ = fed(ids, [1], ("<|im_end|>",))
    assert spelling.text == "a = 1" and spelling.stopped
    assert fed(ids, [3])[0].text == "a = 1b"
    assert fed(CODEC.encode("<|im_end|>"), [2], ("<|im_end|>",))[0].text == ""


def test_every_token_is_spelled_as_it_is_decoded() -> None:
    assert CODEC.spellings is not None
    for token, spelled in enumerate(CODEC.spellings):
        assert spelled.decode(errors="replace") == CODEC.decode([token])


@pytest.mark.parametrize("seed", range(3))
def test_a_long_text_costs_no_more_than_its_length(seed: int) -> None:
    """It is never read again from its beginning."""
    draw, read = random.Random(seed), []

    class Counted(Codec):
        def decode(self, ids, *, skip_special=True):
            read.append(len(ids))
            return super().decode(ids, skip_special=skip_special)

    counted = Counted.__new__(Counted)
    counted.__dict__.update(OTHER.__dict__)
    spelling = Spelling(counted, ("never",))
    for _ in range(400):
        spelling.feed([draw.randrange(16, 512)])
    assert max(read) < 60
