from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from albor.config.schema.run import LocalExecutor
from albor.data import documents
from albor.data import pack as pack_module
from albor.data.chunks import Chunker
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.fim import FimMix, invert
from albor.data.pack import Packed, pack
from albor.data.parquet import shards
from albor.data.rows import Rows
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec
from albor.executors import open_executor

TEXT = st.lists(
    st.one_of(st.text(min_size=1, max_size=60), st.sampled_from(["🎉🎉🎉🎉", "\r\n", "<|fim_middle|>", "return x\n"])),
    min_size=1,
    max_size=30,
).map("".join)

FIM = st.builds(
    FimMix,
    rate=st.sampled_from([0.0, 0.5, 1.0]),
    spm_rate=st.just(0.5),
    line_rate=st.sampled_from([0.0, 0.5, 1.0]),
    min_tokens=st.sampled_from([None, 16, 32]),
)


def document(text: str, path: str = "p/a.py", copies: int = 1) -> Document:
    return Document(text, "local", path.split("/", maxsplit=1)[0], "1.0", path, "MIT", copies=copies)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short and long texts, a sentinel, CRLF and emoji among them."""
    out = tmp_path_factory.mktemp("corpus")
    code = "def compute_{0}(x):\r\n    return '<|fim_prefix|>🎉' * {0}\n"
    train = [document(code.format(i) * (1 + i % 9), f"p{i}/a.py") for i in range(120)]
    val = [document(code.format(i) * 3, f"v{i}/a.py") for i in range(20)]
    documents.write(out / "train-00000.parquet", train[:70])
    documents.write(out / "train-00001.parquet", train[70:])
    documents.write(out / "val-00000.parquet", val)
    return out


def run(corpus: Path, codec: Codec, out: Path, *, workers: int = 1, **changes: Any) -> dict[str, Any]:
    return run_whole(corpus, codec, out, workers=workers, **changes).facts


def run_whole(corpus: Path, codec: Codec, out: Path, *, workers: int = 1, **changes: Any) -> Packed:
    tokenizer, work = out / "tokenizer", out / "work"
    tokenizer.mkdir(parents=True, exist_ok=True)
    codec.save(tokenizer)
    options: dict[str, Any] = {"row_len": 64, "fim": FimMix(rate=0.5, spm_rate=0.5), "seed": 1} | changes
    with open_executor(LocalExecutor(workers=workers), directory=work) as executor:
        return pack(corpus, tokenizer, out=out, work=work, executor=executor, **options)


def pieces(directory: Path, split: str) -> list[list[int]]:
    """Every piece of every row, in the order of the files."""
    rows = Rows(shards(directory, split))
    tokens, doc_ends = rows.read(np.arange(len(rows)))
    return [
        line[start:end].tolist()
        for line, ends in zip(tokens, doc_ends, strict=True)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def texts(directory: Path, split: str) -> list[Document]:
    return [document for path in shards(directory, split) for document in documents.read(path)]


def plain(piece: list[int], codec: Codec) -> str:
    assert codec.fim is not None
    if piece[0] == codec.fim.prefix:
        return invert(piece, fim=codec.fim, eos_id=codec.eos_id, decode=codec.decode)
    return codec.decode(piece)


@given(TEXT, st.integers(16, 160), FIM, st.integers(0, 9))
def test_pieces_fit_a_row_and_give_the_text_back(codec: Codec, text: str, row_len: int, fim: FimMix, seed: int) -> None:
    chunker = Chunker(codec=codec, row_len=row_len, fim=fim, seed=seed)
    (encoded,) = codec.encode_documents([text])
    made = list(chunker.pieces(encoded, sha256=document(text).sha256))
    assert all(1 < len(piece.tokens) <= row_len for piece in made)
    assert made[-1].tokens[-1] == codec.eos_id
    assert all(piece.transformed == (codec.eos_id in piece.tokens) for piece in made[:-1])
    if fim.rate:
        assert "".join(plain(piece.tokens, codec) for piece in made) == text
    else:
        assert codec.decode([token for piece in made for token in piece.tokens]) == text
    if fim.rate == 1:
        assert all(piece.transformed for piece in made)


def test_a_post_processor_that_trims_offsets_loses_no_space(codec: Codec) -> None:
    layout = json.loads(codec._tokenizer.to_str())
    layout["post_processor"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    trimming = Codec(Tokenizer.from_str(json.dumps(layout)), fim=(PREFIX, SUFFIX, MIDDLE))
    text = "".join(f" word{'s' * (i % 7)}" for i in range(400))
    chunker = Chunker(codec=trimming, row_len=32, fim=FimMix(rate=0.5, spm_rate=0.5), seed=0)
    (encoded,) = trimming.encode_documents([text])
    made = chunker.pieces(encoded, sha256=document(text).sha256)
    assert "".join(plain(piece.tokens, trimming) for piece in made) == text


def test_a_character_of_more_tokens_than_a_row_stays_plain_and_whole(codec: Codec) -> None:
    """A normalizer can make forty tokens of one character; no cut between them is one of the text."""
    layout = json.loads(codec._tokenizer.to_str()) | {"normalizer": {"type": "NFKC"}}
    normalizing = Codec(Tokenizer.from_str(json.dumps(layout)), fim=(PREFIX, SUFFIX, MIDDLE))
    chunker = Chunker(codec=normalizing, row_len=16, fim=FimMix(rate=1.0, spm_rate=0.5), seed=0)
    (encoded,) = normalizing.encode_documents(["\ufdfa"])
    assert len(encoded) > 16
    made = list(chunker.pieces(encoded, sha256=document("\ufdfa").sha256))
    assert [token for piece in made for token in piece.tokens] == [*encoded.ids, codec.eos_id]


@given(TEXT, st.floats(0, 1), st.floats(0, 1))
def test_parts_share_tokens_with_the_text_and_are_as_if_encoded_alone(
    codec: Codec, text: str, first: float, second: float
) -> None:
    low, high = sorted(int(place * (len(text) + 1)) for place in (first, second))
    parts = [text[:low], text[low:high], text[high:]]
    (encoded,) = codec.encode_documents([text])
    assert codec.encode_parts(encoded, 0, parts) == codec.encode_batch(parts)


@pytest.mark.parametrize("fim_rate", [0.0, 0.5])
def test_rows_hold_every_document_once(corpus: Path, codec: Codec, tmp_path: Path, fim_rate: float) -> None:
    facts = run(corpus, codec, tmp_path, fim=FimMix(rate=fim_rate, spm_rate=0.5), row_len=512)
    for split in ("train", "val"):
        found = Counter(document.text for document in texts(corpus, split))
        assert Counter(plain(piece, codec) for piece in pieces(tmp_path, split)) == found
    assert facts["num_sequences"] == len(Rows(shards(tmp_path, "train")))
    assert facts["val_sequences"] == len(Rows(shards(tmp_path, "val")))
    assert facts["tokens"] == sum(map(len, pieces(tmp_path, "train")))
    assert facts["fill"] == facts["tokens"] / (facts["num_sequences"] * 512)


def test_facts_of_validation_are_those_of_its_text(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    facts = run(corpus, codec, tmp_path)
    found = texts(corpus, "val")
    assert facts["val_bytes"] == sum(len(d.text.encode()) for d in found)
    assert facts["val_tokens"] == sum(len(codec.encode(d.text)) + 1 for d in found)
    assert (facts["row_len"], facts["token_bytes"], facts["vocab_size"]) == (64, 2, 400)
    assert (facts["eos_id"], facts["pad_id"]) == (0, 4)


def test_only_training_is_transformed(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    assert codec.fim is not None
    facts = run(corpus, codec, tmp_path, fim=FimMix(rate=1.0, spm_rate=1.0))
    train, val = pieces(tmp_path, "train"), pieces(tmp_path, "val")
    assert all(piece[:2] == [codec.fim.prefix, codec.fim.suffix] for piece in train)
    assert facts["fim_pieces"] == facts["pieces"] == len(train)
    assert facts["fim_documents"] == 120
    assert not {token for piece in val for token in piece} & {codec.fim.prefix, codec.fim.suffix, codec.fim.middle}


def test_about_the_asked_share_is_transformed(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    facts = run(corpus, codec, tmp_path)
    share = facts["fim_pieces"] / facts["pieces"]
    assert abs(share - 0.5) < 5 * (0.25 / facts["pieces"]) ** 0.5


def test_copies_count_exactly_and_only_in_training(codec: Codec, tmp_path: Path) -> None:
    """Tier 1 ten times and Tier 2 once; every copy has cuts of its own."""
    assert codec.fim is not None
    documents.write(tmp_path / "train-00000.parquet", [document("first = 'tier'\n" * 2, "a/a.py", copies=10)])
    documents.write(tmp_path / "train-00001.parquet", [document("second = 'tier'\n" * 2, "b/a.py")])
    documents.write(tmp_path / "val-00000.parquet", [document("third = 'held out'\n" * 2, "c/a.py", copies=10)])
    packed = run_whole(tmp_path, codec, tmp_path / "out", fim=FimMix(rate=1.0, spm_rate=0.5))
    train = pieces(tmp_path / "out", "train")
    counts = Counter(plain(piece, codec) for piece in train)
    assert counts == {"first = 'tier'\n" * 2: 10, "second = 'tier'\n" * 2: 1}
    assert len({tuple(piece) for piece in train}) > 6
    assert Counter(plain(piece, codec) for piece in pieces(tmp_path / "out", "val")).total() == 1
    assert packed.facts["documents"] == 11
    by_package = {row.package: row.tokens for row in packed.sources}
    assert by_package["a"] == sum(len(piece) for piece in train if plain(piece, codec).startswith("first"))
    assert sum(by_package.values()) == packed.facts["tokens"] + packed.facts["val_tokens"]


@pytest.mark.parametrize("workers", [1, 2])
def test_any_run_writes_the_same_bytes_and_the_seed_matters(
    corpus: Path, codec: Codec, tmp_path: Path, workers: int
) -> None:
    first = run_whole(corpus, codec, tmp_path / "a")
    again = run_whole(corpus, codec, tmp_path / "b", workers=workers)
    assert again == first
    other = run_whole(corpus, codec, tmp_path / "c", seed=2)
    assert [shard.sha256 for shard in other.shards] != [shard.sha256 for shard in first.shards]
    for shard in first.shards:
        assert hashlib.sha256((tmp_path / "b" / shard.file).read_bytes()).hexdigest() == shard.sha256
        assert shard.bytes == (tmp_path / "b" / shard.file).stat().st_size


def test_large_corpora_are_several_files(
    corpus: Path, codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_whole(corpus, codec, tmp_path / "whole")
    monkeypatch.setattr(pack_module, "SHARD_BYTES", 7 * 64 * 2)
    parts = run_whole(corpus, codec, tmp_path / "parts")
    assert parts.facts == whole.facts
    assert [shard.rows for shard in parts.shards if shard.file.startswith("train")][:-1] == [7] * (
        (whole.facts["num_sequences"] - 1) // 7
    )
    assert pieces(tmp_path / "parts", "train") == pieces(tmp_path / "whole", "train")


def test_no_validation_gives_no_rows(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    documents.write(tmp_path / "in" / "train-00000.parquet", texts(corpus, "train"))
    facts = run(tmp_path / "in", codec, tmp_path / "out")
    assert (facts["val_sequences"], facts["val_tokens"], facts["val_bytes"]) == (0, 0, 0)
    assert len(Rows(shards(tmp_path / "out", "val"))) == 0


def test_fim_without_its_tokens_is_refused(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    without = Codec(codec._tokenizer)
    with pytest.raises(DataError, match="fim_rate") as refused:
        run(corpus, without, tmp_path)
    assert "fim_rate=0" in str(refused.value.help)
    assert run(corpus, without, tmp_path, fim=FimMix(rate=0.0, spm_rate=0.5))["fim_pieces"] == 0


def test_more_holes_are_shorter_pieces_of_the_same_text(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    def made(least: int | None) -> dict[str, Any]:
        mix = FimMix(rate=1.0, spm_rate=0.5, min_tokens=least)
        return run(corpus, codec, tmp_path / str(least), row_len=256, fim=mix)

    one, several = made(None), made(64)
    assert several["fim_pieces"] > 1.5 * one["fim_pieces"]
    assert several["documents"] == one["documents"]
    assert made(200)["fim_pieces"] == one["fim_pieces"], "two of them do not fit"
    lengths = [len(piece) for piece in pieces(tmp_path / "64", "train")]
    assert {length > 128 for length in lengths} == {True, False}  # both long ones and short ones


def test_holes_that_leave_no_text_are_refused(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pieces of 8 tokens") as refused:
        run(corpus, codec, tmp_path, row_len=64, fim=FimMix(rate=0.5, spm_rate=0.5, min_tokens=8))
    assert "fim_min_tokens to 16" in str(refused.value.help)


def test_rows_too_short_are_refused(corpus: Path, codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too short"):
        run(corpus, codec, tmp_path, row_len=4)
