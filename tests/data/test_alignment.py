"""Chunks of text that two tokenizers have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from albor.config.schema.tokenizer import SPECIAL_TOKENS
from albor.data.alignment import INSIDE, UNSCORED, Alignment, Document, spellings, whole_characters
from albor.data.errors import DataError
from albor.data.fim import assemble
from albor.data.tokenizer import Codec
from tests import foreign

TEXT = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(SPECIAL_TOKENS),
        st.sampled_from(["def f(self):\n    return ", "🎉", "e\u0301", "\ufeff", "Å", "1234", "    ", "'s", "\0"]),
    ),
    min_size=1,
    max_size=8,
).map("".join)
CONTEXT = 10_000


@pytest.fixture(scope="module")
def teacher() -> Codec:
    return foreign.codec()


def row(*pieces: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    tokens = np.array([[token for piece in pieces for token in piece]], dtype=np.uint16)
    return tokens, [np.cumsum([len(piece) for piece in pieces], dtype=np.int32)]


def read(
    student: Codec, teacher: Codec, *pieces: Sequence[int], start: bool = True, seq_len: int | None = None,
    context: int = CONTEXT,
) -> tuple[np.ndarray, list[Document]]:  # fmt: skip
    tokens, ends = row(*pieces)
    alignment = Alignment(student, teacher, start_id=teacher.eos_id if start else None, context=context)
    marks, documents = alignment.read(tokens, ends, tokens.shape[1] - 1 if seq_len is None else seq_len)
    return marks[0], documents


def spelt(codec: Codec, ids: Sequence[int]) -> bytes:
    """A control token as its name."""
    known, names = spellings(codec, "student"), {number: token for token, number in codec.vocabulary.items()}
    return b"".join(known[token] or names[token].encode() for token in ids)


@settings(max_examples=12)
@given(texts=st.lists(TEXT, min_size=1, max_size=3))
@example(texts=["\ufeffimport os  # 🎉\n", "🎉"])
def test_chunks_tile_the_bytes_of_both_sides(texts: list[str], codec: Codec, teacher: Codec) -> None:
    pieces = [[*codec.encode(text), codec.eos_id] for text in texts]
    marks, documents = read(codec, teacher, *pieces)
    flat = [token for piece in pieces for token in piece]
    cuts = [1, *(np.flatnonzero(marks <= UNSCORED) + 2).tolist()]  # nobody predicts a row's first token
    if cuts[-1] != len(flat):
        assert len(flat) == 1, "the last token of a row ends a chunk"
    for number, document in enumerate(documents):
        first = sum(len(piece) for piece in pieces[:number])
        for place, start, end in zip(document.places, document.starts, document.ends, strict=True):
            own_end = place + 2
            own_start = max(cut for cut in cuts if cut < own_end)
            assert first <= own_start < own_end <= first + len(pieces[number])
            assert spelt(codec, flat[own_start:own_end]) == spelt(teacher, document.ids[start:end])
        whole = b"".join(
            spelt(codec, flat[max(c for c in cuts if c < place + 2) : place + 2]) for place in document.places
        )
        if texts[number] == teacher.decode(teacher.encode(texts[number])) and number:
            assert whole == texts[number].encode() + b"<|endoftext|>", "nothing is left out after a row's first token"


@given(text=TEXT)
def test_chunks_have_no_common_cut_inside(text: str, codec: Codec, teacher: Codec) -> None:
    ids = codec.encode(text)
    _, (first, document) = read(codec, teacher, [codec.eos_id], [*ids, codec.eos_id])
    assert first.places == []
    known, theirs = spellings(codec, "student"), spellings(teacher, "teacher")
    own = set(np.cumsum([len(known[token] or b"") for token in ids]).tolist())
    place = 0
    for start, end in zip(document.starts[:-1], document.ends[:-1], strict=True):
        sizes = [len(theirs[token] or b"") for token in document.ids[start:end]]
        bounds = place + np.cumsum(sizes)
        assert bounds[-1] in own and not own.intersection(bounds[:-1].tolist())
        place = int(bounds[-1])


@given(texts=st.lists(TEXT, min_size=1, max_size=3))
def test_equal_tokenizers_have_a_token_per_chunk(texts: list[str], codec: Codec) -> None:
    pieces = [[*codec.encode(text), codec.eos_id] for text in texts]
    marks, documents = read(codec, codec, *pieces)
    assert (marks == UNSCORED).all()
    for piece, document in zip(pieces, documents, strict=True):
        assert document.ids == [codec.eos_id, *piece]
        assert [end - start for start, end in zip(document.starts, document.ends, strict=True)] == [1] * len(
            document.places
        )
    places = [place for document in documents for place in document.places]
    assert places == list(range(len(marks))), "each but the row's first token, which nobody predicts"


def test_without_a_token_that_begins_texts_their_first_chunk_has_no_score(codec: Codec) -> None:
    ids = codec.encode("return x")
    assert len(ids) > 1
    for start in (True, False):
        _, (_, document) = read(codec, codec, [codec.eos_id], [*ids, codec.eos_id], start=start)
        assert document.places[0] == (0 if start else 1)


def test_sentinels_are_matched_by_role(codec: Codec, teacher: Codec) -> None:
    assert codec.fim is not None and teacher.fim is not None
    parts = [codec.encode(text) for text in ("def f():\n", "    return 1\n", "print(f())\n")]
    form = assemble(*parts, fim=codec.fim, eos_id=codec.eos_id, spm=False)
    marks, (_, document) = read(codec, teacher, [codec.eos_id], form)
    theirs = [teacher.encode(text) for text in ("def f():\n", "    return 1\n", "print(f())\n")]
    assert document.ids[1:] == assemble(*theirs, fim=teacher.fim, eos_id=teacher.eos_id, spm=False)
    assert len(document.places) == int((marks <= UNSCORED).sum())


def test_after_a_control_token_that_the_teacher_lacks_nothing_is_scored(codec: Codec, teacher: Codec) -> None:
    unknown = codec.vocabulary["<|reserved_0|>"]
    ids = codec.encode("x = 1\n")
    marks, (_, document, after) = read(
        codec, teacher, [codec.eos_id], [*ids, unknown, *ids, codec.eos_id], [*ids, codec.eos_id]
    )
    assert max(document.places) == len(ids) - 1 and spelt(teacher, document.ids[1:]) == b"x = 1\n"
    last = 2 * len(ids) + 1
    assert marks[last] == UNSCORED and (marks[len(ids) : last] == INSIDE).all(), "one chunk, to the end of the piece"
    assert min(after.places) == last + 1


def test_a_text_that_the_teacher_reads_as_another_is_not_scored(codec: Codec, teacher: Codec) -> None:
    decomposed = codec.encode("e\u0301 = 1")
    _, (_, document) = read(codec, teacher, [codec.eos_id], [*decomposed, codec.eos_id])
    assert document.places == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_rows_may_begin_and_end_inside_a_character(cut: int, codec: Codec, teacher: Codec) -> None:
    ids = codec.encode("🎉🎉🎉")
    assert len(ids) == 12, "no token has more than a byte of it"
    for pieces in ([[codec.eos_id], ids[:cut]], [[codec.eos_id], ids[cut:]]):
        marks, (_, document) = read(codec, teacher, *pieces)
        assert marks[len(pieces[1]) - 1] <= UNSCORED
        raw = spelt(codec, pieces[1])
        assert spelt(teacher, document.ids[1:]) == raw.decode(errors="ignore").encode()
        assert bool(document.places) == (len(raw.decode(errors="ignore")) > 0)
        if cut % 4:
            assert len(document.places) < int((marks <= UNSCORED).sum()), "the rest is a chunk without a score"


def test_what_is_beyond_the_context_has_no_score(codec: Codec) -> None:
    ids = codec.encode("a b c d e f g h")
    marks, (_, document) = read(codec, codec, [codec.eos_id], [*ids, codec.eos_id], context=4)
    assert document.places == [0, 1, 2] and (marks == UNSCORED).sum() == len(ids) + 1


def test_a_row_may_be_read_in_part(codec: Codec, teacher: Codec) -> None:
    ids = codec.encode("import json\nimport textwrap\n")
    whole, _ = read(codec, teacher, [*ids, codec.eos_id], [*ids, codec.eos_id])
    part, documents = read(codec, teacher, [*ids, codec.eos_id], [*ids, codec.eos_id], seq_len=len(ids) + 3)
    assert len(part) == len(ids) + 3 and (part[: len(ids) + 1] == whole[: len(ids) + 1]).all()
    assert len(documents) == 2 and part[-1] == UNSCORED


def test_scores_are_summed_over_chunks(codec: Codec, teacher: Codec) -> None:
    tokens, ends = row([codec.eos_id], [*codec.encode("def wrap(text):\n    return 12"), codec.eos_id])
    alignment = Alignment(codec, teacher, start_id=teacher.eos_id, context=CONTEXT)
    marks, documents = alignment.read(tokens, ends, tokens.shape[1] - 1)
    scores = [-np.random.default_rng(0).random(len(document.ids) - 1).astype(np.float32) for document in documents]
    alignment.write(marks, documents, scores)
    document, score = documents[1], scores[1]
    assert marks[0][marks[0] <= 0].sum() == pytest.approx(score.sum(), abs=1e-5), "all of it"
    for place, start, end in zip(document.places, document.starts, document.ends, strict=True):
        assert marks[0][place] == pytest.approx(score[start - 1 : end - 1].sum(), abs=1e-6)


def test_only_bytes_can_be_aligned(codec: Codec) -> None:
    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "<|fim_pad|>": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(["<|endoftext|>", "<|fim_pad|>"])
    with pytest.raises(DataError, match="the teacher's tokenizer is not byte-level") as refused:
        Alignment(codec, Codec(words), start_id=None, context=9)
    assert "distill=text" in str(refused.value.help)


@given(raw=st.binary(max_size=12))
def test_whole_characters(raw: bytes) -> None:
    text, skipped = whole_characters(raw)
    assert raw[skipped:].startswith(text) and skipped <= len(raw)
    text.decode()
