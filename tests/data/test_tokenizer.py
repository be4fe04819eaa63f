from __future__ import annotations

import json
import pickle
import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from albor.config.schema.tokenizer import MIN_BPE_VOCAB, SPECIAL_TOKENS, HfTokenizer
from albor.data import word_cache
from albor.data.errors import DataError
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe

TEXT = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(SPECIAL_TOKENS),
        st.sampled_from(["\r\n", "\0", "\x1c", "\x85", "\t", "    ", "🎉", "e\u0301", "\ufeff", "'s", "1234", " x"]),
    ),
    max_size=12,
).map("".join)

TRICKY = " \n\t\r'strevmld1a\u00a0\u3000½٣é"
"""Spaces, contractions and numerals: where splitting is easily got wrong."""

CLASSES = {"L": "x", "N": "0", "Z": "\t"}
"""A character that GPT-2's expression treats as it treats the whole Unicode class."""


@pytest.fixture(scope="module")
def foreign(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of some published tokenizers: unmarked sentinels, indentation as added tokens, BOS, cutting."""
    path = tmp_path_factory.mktemp("foreign") / "tokenizer.json"
    codec.save(path.parent)
    layout = json.loads(path.read_text(encoding="utf-8"))
    for token in layout["added_tokens"]:
        token["special"] = False
    added = dict(layout["added_tokens"][0], id=400, content="        ", special=False)
    layout["added_tokens"].append(added)
    layout["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    layout["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [7], "tokens": ["<|im_start|>"]}},
    }
    path.write_text(json.dumps(layout), encoding="utf-8")
    return path


def hf(path: object, **changes: Any) -> HfTokenizer:
    fim = dict(zip(("fim_prefix", "fim_suffix", "fim_middle"), SPECIAL_TOKENS[1:4], strict=True))
    return HfTokenizer(name="foreign", path=str(path), **({"vocab_size": 401} | fim | changes))


def test_specials_have_their_ids_and_the_size_is_exact(codec: Codec, tmp_path: Path) -> None:
    codec.save(tmp_path)
    loaded = Codec.load(tmp_path)
    assert loaded.vocab_size == codec.vocab_size == 400
    assert [loaded.decode([i], skip_special=False) for i in range(16)] == list(SPECIAL_TOKENS)
    assert (loaded.eos_id, loaded.pad_id) == (0, 4)
    assert loaded.fim is not None
    assert (loaded.fim.prefix, loaded.fim.suffix, loaded.fim.middle, loaded.fim.pad) == (1, 2, 3, 4)


@pytest.mark.contract("C-KERNEL-006", level=2)
@given(TEXT)
def test_every_text_comes_back_and_never_makes_a_control_token(codec: Codec, text: str) -> None:
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert codec.decode(ids, skip_special=False) == text
    assert all(token >= len(SPECIAL_TOKENS) for token in ids)
    assert codec.encode_batch([text, text]) == [ids, ids]
    assert [encoded.ids for encoded in codec.encode_documents([text])] == [ids]


SCRIPTS = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
"""Every code point but the surrogates, by the length of its UTF-8."""


@pytest.mark.contract("C-KERNEL-006", level=3)
def test_ten_thousand_texts_come_back(codec: Codec) -> None:
    """Of code points from anywhere, literal sentinels whole and cut, and white space of all kinds."""
    draw = random.Random(0)
    made = [
        *(lambda: chr(draw.randrange(*draw.choice(SCRIPTS))) for _ in range(6)),
        lambda: draw.choice(SPECIAL_TOKENS)[: draw.randint(1, 20)],
        lambda: draw.choice(["\r\n", "    ", "\t", "\0", "\x85", "\u2028", "\ufeff", "e\u0301", "👩\u200d💻"]),
    ]
    texts = ["".join(draw.choice(made)() for _ in range(draw.randint(0, 40))) for _ in range(10_000)]
    for text, batch in zip(texts, codec.encode_batch(texts), strict=True):
        ids = codec.encode(text)
        assert codec.decode(ids) == text and ids == batch
        assert all(token >= len(SPECIAL_TOKENS) for token in ids)


ODD = " \n\t\r\x0b\x0c\x00\x1c\x1d\x1f\x85'sdt05a.()_é\u00a0\u2028\u0660²½"
"""What two ways to split a text might disagree about."""
PIECES = st.one_of(
    st.text(max_size=8),
    st.text(alphabet=ODD, max_size=14),
    st.sampled_from(["don't", "''some", "  x = 10\n", "\n\n    return", "🎉", " 1", "  22 ", "\n3", "'S'll"]),
)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_by_words_is_as_the_tokenizer_itself(codec: Codec, text: str) -> None:
    alone = Tokenizer.from_str(codec._tokenizer.to_str())
    alone.encode_special_tokens = True
    assert codec.encode_batch([text, text]) == [alone.encode(text, add_special_tokens=False).ids] * 2


def test_more_words_than_are_kept(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "KEPT_WORDS", 10)
    texts = [f"word{number} other{number * 7} = {'x' * number}\n" for number in range(200)]
    assert [codec.encode_batch([text])[0] for text in texts] == [codec.encode(text) for text in texts]


@given(st.lists(st.integers(0, 399), max_size=20))
def test_any_ids_decode(codec: Codec, ids: list[int]) -> None:
    assert isinstance(codec.decode(ids), str)


def starcoder_pieces(text: str) -> list[str]:
    """llama.cpp's pre-tokenizer ``starcoder``: numerals alone, then GPT-2's expression; what it skips stands alone."""
    mirror = "".join(
        char if char.isascii() else "\t" if char == "\x85" else CLASSES.get(unicodedata.category(char)[0], "#")
        for char in text
    )
    space = r"\t-\r "
    expression = rf"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^{space}A-Za-z0-9]+|[{space}]+(?![^{space}])"
    pieces = []
    for part in re.finditer(r"[0-9]|[^0-9]+", mirror):
        last = part.start()
        for match in re.finditer(expression, part.group()):
            start, end = (part.start() + offset for offset in match.span())
            pieces += [text[last:start], text[start:end]]
            last = end
        pieces.append(text[last : part.end()])
    return [piece for piece in pieces if piece]


@given(st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["C"]))))
def test_the_layout_is_the_one_llama_cpp_calls_starcoder(codec: Codec, text: str) -> None:
    pre_tokenizer = codec._tokenizer.pre_tokenizer
    found = [text[start:end] for _, (start, end) in pre_tokenizer.pre_tokenize_str(text)]
    assert found == starcoder_pieces(text)


def test_training_is_deterministic_and_special_text_in_it_stays_text(tmp_path: Path) -> None:
    texts = [f"def f{i}(x):\n    return x + {i}  # <|fim_prefix|><|endoftext|>\n" for i in range(300)]
    first, second = (train_bpe(iter(texts), vocab_size=300) for _ in range(2))
    assert first.to_str() == second.to_str()
    codec = Codec(first)
    assert codec.fim is None
    assert min(codec.encode(texts[0])) >= len(SPECIAL_TOKENS)


def test_a_vocabulary_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(DataError, match=r"yields a vocabulary of \d+, not tokenizer.vocab_size=4096") as refused:
        train_bpe(["x = 1\n" * 10], vocab_size=4096)
    assert re.search(r"vocab_size=2\d\d or less", str(refused.value.help))
    with pytest.raises(DataError, match="256 bytes") as refused:
        train_bpe(["x = 1\n" * 10], vocab_size=MIN_BPE_VOCAB - 1)
    assert str(MIN_BPE_VOCAB) in str(refused.value.help)


def test_a_foreign_tokenizer_reads_its_unmarked_sentinels_as_text_too(foreign: Path) -> None:
    text = "def f():\n        return '<|fim_prefix|><|endoftext|>'\n"
    for path in (foreign, foreign.parent):
        codec = Codec.hf(hf(path))
        ids = codec.encode(text)
        assert codec.decode(ids) == text
        assert not set(ids) & set(range(16))
        # Indentation that the tokenizer added is ordinary text; nothing was put before it or cut off.
        assert 400 in ids
    assert Codec.hf(hf(foreign, fim_prefix=None, fim_suffix=None, fim_middle=None)).fim is None


def test_saving_keeps_a_foreign_tokenizer_as_it_was(foreign: Path, tmp_path: Path) -> None:
    Codec.hf(hf(foreign)).save(tmp_path)
    copy = tmp_path / "tokenizer.json"
    saved, original = (json.loads(path.read_text(encoding="utf-8")) for path in (copy, foreign))
    assert saved["added_tokens"] == original["added_tokens"]
    assert saved["post_processor"] == original["post_processor"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 32_000}, "has 401 tokens"),
        ({"eos_token": "</s>"}, "no token </s>"),
        ({"fim_middle": None}, "only some"),
    ],
)
def test_a_foreign_tokenizer_that_does_not_fit_its_config_is_refused(
    foreign: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        Codec.hf(hf(foreign, **changes))
    assert refused.value.help


def test_a_codec_sent_to_another_process_still_reads_sentinels_as_text(codec: Codec) -> None:
    text = "x = '<|fim_prefix|>'"
    assert pickle.loads(pickle.dumps(codec)).encode(text) == codec.encode(text)


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="is no tokenizer"):
        Codec.hf(hf(tmp_path))
    with pytest.raises(DataError, match=r"roles.json cannot be read"):
        Codec.load(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        Codec.hf(hf("not a repository name"))


def test_a_tokenizer_that_reads_its_control_tokens_in_text_is_refused() -> None:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<pad>", 0.0), ("a", -1.0), (" ", -1.5)]
    unigram = Tokenizer(models.Unigram(pieces, unk_id=0))
    with pytest.raises(DataError, match="control token") as refused:
        Codec(unigram, eos="</s>", pad="<pad>")
    assert refused.value.help


def test_a_byte_level_tokenizer_that_lacks_bytes_is_refused_when_it_meets_them(codec: Codec) -> None:
    layout = json.loads(codec._tokenizer.to_str())
    del layout["model"]["vocab"]["{"]
    layout["model"]["merges"] = [pair for pair in layout["model"]["merges"] if "{" not in "".join(pair)]
    lacking = Codec(Tokenizer.from_str(json.dumps(layout)), fim=(PREFIX, SUFFIX, MIDDLE))
    assert lacking.encode_documents(["plain"])[0].ids
    with pytest.raises(DataError, match="every byte"):
        lacking.encode_documents(["{}"])
