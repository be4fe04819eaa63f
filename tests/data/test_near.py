from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from albor.data.near import NO_KEY, band_keys, jaccard, representatives, shingles

Hashes = NDArray[np.uint64]
BANDS, ROWS = 32, 8


def stand_ins(
    sets: list[Hashes], *, threshold: float = 0.7, rank: list[int] | None = None, keys: Hashes | None = None
) -> list[int]:
    columns = band_keys(sets, bands=BANDS, rows=ROWS) if keys is None else keys
    result: list[int] = representatives(
        rank=np.arange(len(sets)) if rank is None else np.array(rank, dtype=np.int64),
        band=lambda index: columns[:, index],
        bands=columns.shape[1],
        usable=np.array([len(hashes) > 0 for hashes in sets], dtype=np.bool_),
        shingles=lambda index: sets[index],
        threshold=threshold,
    ).tolist()
    return result


def numbers(rng: np.random.Generator, count: int) -> Hashes:
    return np.unique(rng.integers(0, 2**64, count, dtype=np.uint64))


def planted(rng: np.random.Generator, similarity: float, size: int) -> tuple[Hashes, Hashes, float]:
    """Two sets of ``size`` elements and their similarity, about the one asked for."""
    shared = round(2 * size * similarity / (1 + similarity))
    pool = rng.integers(0, 2**64, 2 * size - shared, dtype=np.uint64)
    return np.unique(pool[:size]), np.unique(pool[size - shared :]), shared / (2 * size - shared)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=15)


@given(WORDS, WORDS, st.integers(1, 6))
def test_shingles_are_the_sets_of_runs_of_words(first: list[str], second: list[str], size: int) -> None:
    runs = [{tuple(words[i : i + size]) for i in range(len(words) - size + 1)} for words in (first, second)]
    ours = [shingles(" ".join(words), size) for words in (first, second)]
    for hashes, expected in zip(ours, runs, strict=True):
        assert len(hashes) == len(expected)
        assert (hashes[1:] > hashes[:-1]).all()
    union = len(runs[0] | runs[1])
    assert jaccard(*ours) == (len(runs[0] & runs[1]) / union if union else 0.0)


def test_layout_does_not_make_two_texts_differ() -> None:
    code = "def add(first, second):\n    return first + second\n"
    assert jaccard(shingles(code, 5), shingles(code.replace("    ", "\t").replace("\n", "\r\n"), 5)) == 1.0


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("size", [40, 400])
def test_pairs_are_found_as_often_as_the_theory_says(similarity: float, size: int) -> None:
    rng = np.random.default_rng(round(similarity * 1_000) + size)
    pairs = [planted(rng, similarity, size) for _ in range(400)]
    similarity = pairs[0][2]
    found = stand_ins([hashes for pair in pairs for hashes in pair[:2]], threshold=similarity)[1::2]
    hits = sum(stand_in == 2 * place for place, stand_in in enumerate(found))
    chance = 1 - (1 - similarity**ROWS) ** BANDS
    assert abs(hits - 400 * chance) <= 3 * (400 * chance * (1 - chance)) ** 0.5 + 0.5


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.69])
def test_what_is_less_similar_is_never_dropped(similarity: float) -> None:
    rng = np.random.default_rng(7)
    sets = [hashes for _ in range(300) for hashes in planted(rng, similarity, 200)[:2]]
    assert stand_ins(sets) == list(range(len(sets)))


def test_the_threshold_itself_is_a_duplicate() -> None:
    rng = np.random.default_rng(0)
    pool = numbers(rng, 100)
    sets = [pool[:85], pool[15:]]
    assert jaccard(*sets) == 0.7
    same = np.ones((2, 1), dtype=np.uint64)
    assert stand_ins(sets, threshold=0.7, keys=same) == [0, 0]
    assert stand_ins(sets, threshold=0.7001, keys=same) == [0, 1]


def test_documents_without_shingles_match_nothing() -> None:
    empty, full = shingles("import os", 5), shingles("a b c d e f g", 5)
    keys = band_keys([empty, full, empty, full], bands=4, rows=2)
    assert keys.shape == (4, 4)
    assert (keys[[0, 2]] == NO_KEY).all()
    assert (keys[[1, 3]] != NO_KEY).all()
    assert stand_ins([empty, full, empty, full]) == [0, 1, 2, 1]
    assert stand_ins([empty, empty]) == [0, 1]
    assert stand_ins([]) == []


def test_keys_depend_on_the_set_alone() -> None:
    sets = [numbers(np.random.default_rng(seed), 50) for seed in range(20)]
    together = band_keys(sets, bands=BANDS, rows=ROWS)
    alone = np.concatenate([band_keys([hashes], bands=BANDS, rows=ROWS) for hashes in reversed(sets)])
    assert (together == alone[::-1]).all()


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Hashes], list[int]]:
    """Many sets out of few elements, so that all degrees of similarity occur, chains among them."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    pool = numbers(rng, 40)
    sets = [np.sort(rng.choice(pool, rng.integers(0, 40), replace=False)) for _ in range(draw(st.integers(1, 25)))]
    return sets, draw(st.permutations(range(len(sets))))


def close(first: Hashes, second: Hashes, threshold: float) -> bool:
    both = len(set(first.tolist()) | set(second.tolist()))
    return both > 0 and len(set(first.tolist()) & set(second.tolist())) / both >= threshold


def greedy(sets: list[Hashes], rank: list[int], alike: Callable[[int, int], bool]) -> list[int]:
    kept: list[int] = []
    result = list(range(len(sets)))
    for document in sorted(result, key=rank.__getitem__):
        result[document] = next((other for other in kept if alike(document, other)), document)
        if result[document] == document:
            kept.append(document)
    return result


@settings(max_examples=60)
@given(corpora(), st.sampled_from([0.3, 0.5, 0.7]))
def test_the_result_is_the_greedy_one(corpus: tuple[list[Hashes], list[int]], threshold: float) -> None:
    sets, rank = corpus
    keys = band_keys(sets, bands=8, rows=2)

    def alike(a: int, b: int) -> bool:
        return bool((keys[a] == keys[b]).any()) and close(sets[a], sets[b], threshold)

    assert stand_ins(sets, threshold=threshold, rank=rank, keys=keys) == greedy(sets, rank, alike)


@settings(max_examples=60)
@given(corpora(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(corpus: tuple[list[Hashes], list[int]], rng: random.Random) -> None:
    sets, rank = corpus
    order = list(range(len(sets)))
    rng.shuffle(order)
    shuffled = stand_ins([sets[i] for i in order], threshold=0.5, rank=[rank[i] for i in order])
    straight = stand_ins(sets, threshold=0.5, rank=rank)
    assert {order[i]: order[stand_in] for i, stand_in in enumerate(shuffled)} == dict(enumerate(straight))


def variants(base: Hashes, share: float, count: int) -> list[Hashes]:
    """Sets that have ``share`` of ``base`` in common, and as much again as they lack of their own."""
    size = round(len(base) * share)
    rngs = map(np.random.default_rng, range(count))
    return [np.union1d(base[:size], numbers(rng, len(base) - size)) for rng in rngs]


def test_a_large_group_of_copies_is_compared_with_the_one_that_is_kept() -> None:
    sets = variants(numbers(np.random.default_rng(0), 60), 0.95, 5_000)
    reads: list[int] = []
    keys = np.ones((len(sets), 4), dtype=np.uint64)
    result = representatives(
        rank=np.arange(len(sets))[::-1].copy(),
        band=lambda index: keys[:, index],
        bands=4,
        usable=np.ones(len(sets), dtype=np.bool_),
        shingles=lambda index: reads.append(index) or sets[index],  # type: ignore[func-returns-value]
        threshold=0.7,
    )
    assert set(result.tolist()) == {4_999}
    assert len(reads) == 5_000


def test_a_large_group_of_strangers_is_kept() -> None:
    sets = variants(numbers(np.random.default_rng(0), 200), 0.3, 2_000)
    assert stand_ins(sets, keys=np.ones((len(sets), 1), dtype=np.uint64)) == list(range(2_000))
