from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from albor.data import documents
from albor.data.chunks import Chunker
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.fim import invert
from albor.data.pack import pack
from albor.data.rows import Rows
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec

TEXT = st.lists(
    st.one_of(st.text(min_size=1, max_size=60), st.sampled_from(["🎉🎉🎉🎉", "\r\n", "<|fim_middle|>", "return x\n"])),
    min_size=1,
    max_size=30,
).map("".join)


def document(text: str, path: str = "p/a.py") -> Document:
    return Document(text, "local", path.split("/", maxsplit=1)[0], path, "MIT")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short and long texts, a sentinel, CRLF and emoji among them."""
    out = tmp_path_factory.mktemp("corpus")
    code = "def compute_{0}(x):\r\n    return '<|fim_prefix|>🎉' * {0}\n"
    train = [document(code.format(i) * (1 + i % 9), f"p{i}/a.py") for i in range(120)]
    val = [document(code.format(i) * 3, f"v{i}/a.py") for i in range(20)]
    documents.write(out / "train.parquet", train)
    documents.write(out / "val.parquet", val)
    return out


def run(corpus: Path, codec: Codec, out: Path, **changes: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    options = {"row_len": 64, "fim_rate": 0.5, "fim_spm_rate": 0.5, "seed": 1} | changes
    return pack(corpus, codec, out=out, **options)


def pieces(path: Path) -> list[list[int]]:
    """Every piece of every row, in the order of the file."""
    rows = Rows(path)
    tokens, doc_ends = rows.read(np.arange(len(rows)))
    return [
        line[start:end].tolist()
        for line, ends in zip(tokens, doc_ends, strict=True)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def plain(piece: list[int], codec: Codec) -> str:
    assert codec.fim is not None
    if piece[0] == codec.fim.prefix:
        return invert(piece, fim=codec.fim, eos_id=codec.eos_id, decode=codec.decode)
    return codec.decode(piece)


@given(TEXT, st.integers(16, 80), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 9))
def test_pieces_fit_a_row_and_give_the_text_back(
    codec: Codec, text: str, row_len: int, fim_rate: float, seed: int
) -> None:
    chunker = Chunker(codec=codec, row_len=row_len, fim_rate=fim_rate, fim_spm_rate=0.5, seed=seed)
    (encoding,) = codec.encode_with_offsets([text])
    made = list(chunker.pieces(document(text), encoding))
    assert all(1 < len(piece.tokens) <= row_len for piece in made)
    assert made[-1].tokens[-1] == codec.eos_id
    assert all(piece.transformed == (codec.eos_id in piece.tokens) for piece in made[:-1])
    if fim_rate:
        assert "".join(plain(piece.tokens, codec) for piece in made) == text
    else:
        assert codec.decode([token for piece in made for token in piece.tokens]) == text
    if fim_rate == 1:
        assert all(piece.transformed for piece in made)


def test_a_post_processor_that_trims_offsets_loses_no_space(codec: Codec) -> None:
    layout = json.loads(codec._tokenizer.to_str())
    layout["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    trimming = Codec(Tokenizer.from_str(json.dumps(layout)), fim=(PREFIX, SUFFIX, MIDDLE))
    text = "".join(f" word{'s' * (i % 7)}" for i in range(400))
    chunker = Chunker(codec=trimming, row_len=32, fim_rate=0.5, fim_spm_rate=0.5, seed=0)
    (encoding,) = trimming.encode_with_offsets([text])
    assert "".join(plain(piece.tokens, trimming) for piece in chunker.pieces(document(text), encoding)) == text


def test_a_character_of_more_tokens_than_a_row_stays_plain_and_whole(codec: Codec) -> None:
    """A normalizer can make forty tokens of one character; no cut between them is one of the text."""
    encoding: Any = SimpleNamespace(ids=list(range(20, 60)), offsets=[(0, 1)] * 40)
    chunker = Chunker(codec=codec, row_len=16, fim_rate=1.0, fim_spm_rate=0.5, seed=0)
    made = list(chunker.pieces(document("\ufdfa"), encoding))
    assert [token for piece in made for token in piece.tokens] == [*encoding.ids, codec.eos_id]


@pytest.mark.parametrize("fim_rate", [0.0, 0.5])
def test_rows_hold_every_document_once(corpus: Path, codec: Codec, tmp_path: Path, fim_rate: float) -> None:
    facts = run(corpus, codec, tmp_path, fim_rate=fim_rate, row_len=512)
    for split in ("train", "val"):
        texts = Counter(document.text for document in documents.read(corpus / f"{split}.parquet"))
        assert Counter(plain(piece, codec) for piece in pieces(tmp_path / f"{split}.parquet")) == texts
    assert facts["num_sequences"] == len(Rows(tmp_path / "train.parquet"))
    assert facts["val_sequences"] == len(Rows(tmp_path / "val.parquet"))
    assert facts["tokens"] == sum(map(len, pieces(tmp_path / "train.parquet")))
    assert facts["fill"] == facts["tokens"] / (facts["num_sequences"] * 512)


def test_facts_of_validation_are_those_of_its_text(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    facts = run(corpus, codec, tmp_path)
    found = list(documents.read(corpus / "val.parquet"))
    assert facts["val_bytes"] == sum(len(d.text.encode()) for d in found)
    assert facts["val_tokens"] == sum(len(codec.encode(d.text)) + 1 for d in found)
    assert (facts["row_len"], facts["token_bytes"], facts["vocab_size"]) == (64, 2, 400)
    assert (facts["eos_id"], facts["pad_id"]) == (0, 4)


def test_only_training_is_transformed(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    assert codec.fim is not None
    facts = run(corpus, codec, tmp_path, fim_rate=1.0, fim_spm_rate=1.0)
    train, val = pieces(tmp_path / "train.parquet"), pieces(tmp_path / "val.parquet")
    assert all(piece[:2] == [codec.fim.prefix, codec.fim.suffix] for piece in train)
    assert facts["fim_pieces"] == facts["pieces"] == len(train)
    assert facts["fim_documents"] == 120
    assert not {token for piece in val for token in piece} & {codec.fim.prefix, codec.fim.suffix, codec.fim.middle}


def test_about_the_asked_share_is_transformed(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    facts = run(corpus, codec, tmp_path)
    share = facts["fim_pieces"] / facts["pieces"]
    assert abs(share - 0.5) < 5 * (0.25 / facts["pieces"]) ** 0.5


def test_two_runs_write_the_same_bytes_and_the_seed_matters(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    seen: list[int] = []
    first = run(corpus, codec, tmp_path / "a", progress=seen.append)
    assert run(corpus, codec, tmp_path / "b") == first
    run(corpus, codec, tmp_path / "c", seed=2)
    a, b, c = ((tmp_path / name / "train.parquet").read_bytes() for name in "abc")
    assert a == b != c
    assert seen == sorted(seen) and seen[-1] == 140


def test_no_validation_gives_no_rows(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "train.parquet").write_bytes((corpus / "train.parquet").read_bytes())
    documents.write(tmp_path / "in" / "val.parquet", [])
    facts = run(tmp_path / "in", codec, tmp_path / "out")
    assert (facts["val_sequences"], facts["val_tokens"], facts["val_bytes"]) == (0, 0, 0)


def test_fim_without_its_tokens_is_refused(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    without = Codec(codec._tokenizer)
    with pytest.raises(DataError, match="fim_rate") as refused:
        run(corpus, without, tmp_path)
    assert "fim_rate=0" in str(refused.value.help)
    assert run(corpus, without, tmp_path, fim_rate=0.0)["fim_pieces"] == 0


def test_rows_too_short_are_refused(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too short"):
        run(corpus, codec, tmp_path, row_len=4)
