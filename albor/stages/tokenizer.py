"""A vocabulary learned from the training documents, or one that exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.tokenizer import HfTokenizer
from albor.runs.files import sha256_file
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the tokenizer stage alone."""

    name: Literal["tokenizer"] = "tokenizer"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data.documents import sample
    from albor.data.parquet import shards
    from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe

    if isinstance(cfg.tokenizer, HfTokenizer):
        codec = Codec.hf(cfg.tokenizer)
        codec.save(context.out)
        return {"vocab_size": codec.vocab_size, "tokenizer_sha256": sha256_file(context.out / "tokenizer.json")}
    size = cfg.tokenizer.train_bytes
    files = shards(context.inputs["documents"].path, "train")
    sizes = {"documents": 0, "bytes": 0}

    def texts() -> Iterator[str]:
        for document in sample(files, size):
            sizes["documents"] += 1
            sizes["bytes"] += len(document.text.encode())
            context.progress(sizes["documents"], 0, "documents")
            yield document.text

    codec = Codec(train_bpe(texts(), vocab_size=cfg.tokenizer.vocab_size), fim=(PREFIX, SUFFIX, MIDDLE))
    codec.save(context.out)
    sha256 = sha256_file(context.out / "tokenizer.json")
    return {"vocab_size": codec.vocab_size, "tokenizer_sha256": sha256, "trained_on": sizes}


def identity(cfg: Whole) -> Mapping[str, str]:
    """The bytes of a tokenizer file that lies here; one on the Hub is known by its name."""
    if not isinstance(cfg.tokenizer, HfTokenizer):
        return {}
    path = Path(cfg.tokenizer.path)
    file = path / "tokenizer.json" if path.is_dir() else path
    return {"tokenizer_sha256": sha256_file(file)} if file.is_file() else {}


STAGE = Stage(
    name="tokenizer",
    version=2,
    makes="tokenizer",
    config=Config,
    reads=("tokenizer",),
    label=lambda cfg: cfg.tokenizer.name,
    inputs=lambda cfg: {} if isinstance(cfg.tokenizer, HfTokenizer) else {"documents": "prepare"},
    run=run,
    identity=identity,
)
