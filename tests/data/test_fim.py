from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.fim import Draw, assemble, draw, invert, split, split_lines
from albor.data.tokenizer import Codec

UNIT = st.floats(0, 1, exclude_max=True)
TEXT = st.lists(st.one_of(st.text(max_size=15), st.sampled_from(["\r\n", "\0", "🎉", "<|fim_suffix|>", "    "]))).map(
    "".join
)


@given(TEXT, st.tuples(UNIT, UNIT), st.booleans())
def test_the_exact_text_comes_back(codec: Codec, text: str, cuts: tuple[float, float], spm: bool) -> None:
    assert codec.fim is not None
    parts = split(text, cuts)
    assert parts.prefix + parts.middle + parts.suffix == text
    prefix, middle, suffix = codec.encode_batch([parts.prefix, parts.middle, parts.suffix])
    tokens = assemble(prefix, middle, suffix, fim=codec.fim, eos_id=codec.eos_id, spm=spm)
    assert len(tokens) == len(prefix) + len(middle) + len(suffix) + 4
    assert invert(tokens, fim=codec.fim, eos_id=codec.eos_id, decode=codec.decode) == text


@given(TEXT, st.tuples(UNIT, UNIT, UNIT, UNIT))
def test_holes_of_lines_end_with_a_line(text: str, hole: tuple[float, float, float, float]) -> None:
    parts = split_lines(text, hole)
    assert parts.prefix + parts.middle + parts.suffix == text
    if text.strip():
        before = (parts.prefix + parts.middle).splitlines()
        assert before == text.splitlines()[: len(before)]


def test_holes_of_lines_are_what_an_editor_asks_for() -> None:
    text = "def f(x):\n    y = x + 1\n\n    return y\n"
    assert split_lines(text, (0.4, 0.1, 0.3, 0.9)).middle == "    y = x + 1"
    assert split_lines(text, (0.4, 0.1, 0.3, 0.1)).middle == "    y = x + 1\n"
    assert split_lines(text, (0.4, 0.1, 0.8, 0.9)).middle == "    y = x + 1\n\n    return y"
    assert split_lines(text, (0.4, 0.85, 0.3, 0.9)).prefix == "def f(x):\n    y = x"
    assert split_lines("\n\n", (0.4, 0.1, 0.3, 0.1)).middle == ""


def test_lengths_of_holes_of_lines_halve() -> None:
    text = "".join(f"line {i}\n" for i in range(1000))
    taken = [split_lines(text, draw(seed=0, sha256="s", copy=0, chunk=chunk).hole) for chunk in range(20_000)]
    lines = [parts.middle.count("\n") + (not parts.middle.endswith("\n")) for parts in taken]
    for length in (1, 2, 3):
        share = sum(n == length for n in lines) / len(lines)
        assert abs(share - 0.5**length) < 0.02


def test_the_two_orders(codec: Codec) -> None:
    fim = codec.fim
    assert fim is not None
    psm = assemble([20], [30, 31], [40], fim=fim, eos_id=0, spm=False)
    spm = assemble([20], [30, 31], [40], fim=fim, eos_id=0, spm=True)
    assert psm == [fim.prefix, 20, fim.suffix, 40, fim.middle, 30, 31, 0]
    assert spm == [fim.prefix, fim.suffix, 40, fim.middle, 20, 30, 31, 0]


@pytest.mark.parametrize(
    "tokens", [[20, 30], [1, 20, 3, 30, 2, 40, 0], [1, 20, 2, 30, 3, 40], [9, 20, 2, 30, 3, 40, 0]]
)
def test_what_is_no_form_is_refused(codec: Codec, tokens: list[int]) -> None:
    assert codec.fim is not None
    with pytest.raises(ValueError, match=r"form|not in list"):
        invert(tokens, fim=codec.fim, eos_id=0, decode=codec.decode)


@given(st.integers(0, 50), st.tuples(UNIT, UNIT))
def test_cuts_stay_inside(length: int, cuts: tuple[float, float]) -> None:
    parts = split("x" * length, cuts)
    assert len(parts.prefix) + len(parts.middle) + len(parts.suffix) == length


def test_every_pair_of_cuts_is_as_likely() -> None:
    counts: dict[tuple[int, int], int] = {}
    trials = 20_000
    for chunk in range(trials):
        parts = split("abc", draw(seed=0, sha256="s", copy=0, chunk=chunk).cuts)
        key = (len(parts.prefix), len(parts.middle))
        counts[key] = counts.get(key, 0) + 1
    # Two positions of four: 1/16 when they are equal, 2/16 when they differ.
    for (_, middle), count in counts.items():
        share = (1 if middle == 0 else 2) / 16
        assert abs(count - trials * share) < 5 * math.sqrt(trials * share * (1 - share))
    assert len(counts) == 10


def test_chances_depend_on_every_part_of_their_name_and_nothing_else() -> None:
    base: dict[str, int | str] = {"seed": 1, "sha256": "ab", "copy": 0, "chunk": 0}

    def of(**changes: int | str) -> Draw:
        named = base | changes
        return draw(
            seed=int(named["seed"]), sha256=str(named["sha256"]), copy=int(named["copy"]), chunk=int(named["chunk"])
        )

    assert of() == of()
    assert len({of(), of(seed=2), of(sha256="ac"), of(copy=1), of(chunk=1)}) == 5
