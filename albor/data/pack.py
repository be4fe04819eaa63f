"""From documents to shuffled rows of tokens, for training and for validation: tokenize, pack, write shards."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from albor.data import rows as row_files
from albor.data import versions
from albor.data.card import Shard, SourceRow
from albor.data.errors import DataError
from albor.data.fim import FimMix
from albor.data.funnel import rates
from albor.data.loader import order
from albor.data.packing import Packing, best_fit
from albor.data.parquet import SPLITS, link_shards, shards
from albor.data.sources.base import Progress
from albor.data.steps import Mapper, Output, Step, perform
from albor.data.tally import Tally
from albor.data.tokenize import SOURCES, TOKENS, Settings, Shards, load_codec, tokenize
from albor.data.tokenizer import Codec
from albor.runs.files import sha256_file

MIN_ROW_LEN = 16
"""A row holds the sentinels, EOS and some text."""
SHARD_BYTES = 64 << 20
"""Tokens of one file of rows."""
OPEN_FILES = 128
STORED_ORDER = -1
"""The epoch whose order the files have; training's epochs count from 0."""


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    facts: dict[str, Any]
    sources: list[SourceRow]
    """Packed tokens by source, package, version, licence and split."""
    shards: list[Shard]


def pack(
    documents: Path,
    tokenizer: Path,
    *,
    row_len: int,
    fim: FimMix,
    seed: int,
    out: Path,
    work: Path,
    executor: Mapper,
    progress: Progress = lambda done, total, text: None,
    log: Callable[[Mapping[str, float]], None] = lambda metrics: None,
) -> Packed:
    """Turn ``documents/{train,val}-*.parquet`` into ``out/{train,val}-*.parquet``; validation is never transformed.

    ``tokenizer`` is the directory of a saved codec; ``work`` keeps finished parts for a rerun. Two runs write the
    same bytes, whatever the number of workers.

    Returns:
        As facts: ``num_sequences`` and ``val_sequences`` (rows), ``tokens`` and ``val_tokens`` (EOS and sentinels
        counted, padding not), ``val_bytes`` (UTF-8, of the text that the val_tokens stand for: bits per byte is the
        mean loss in nats times val_tokens / val_bytes / ln 2), ``fill`` (of the training rows), ``row_len``,
        ``token_bytes``, ``vocab_size``, ``eos_id``, ``pad_id``, ``pieces`` and of those ``fim_pieces``,
        ``documents`` (training, copies counted) and of those ``fim_documents`` (with at least one transformed piece).

    Raises:
        DataError: FIM is asked of a tokenizer without its tokens, rows are too short, or a file cannot be read.
    """
    codec = Codec.load(tokenizer)
    if fim.rate > 0 and codec.fim is None:
        raise DataError(
            f"data.fim_rate={fim.rate} needs fill-in-the-middle tokens, which the tokenizer does not name",
            help="set data.fim_rate=0, or tokenizer.fim_prefix, fim_suffix and fim_middle",
        )
    if row_len < MIN_ROW_LEN:
        raise DataError(f"rows of {row_len} tokens are too short", help=f"set data.row_len to {MIN_ROW_LEN} or more")
    if (fim.min_tokens or MIN_ROW_LEN) < MIN_ROW_LEN:
        raise DataError(
            f"pieces of {fim.min_tokens} tokens leave too little text around a hole",
            help=f"set data.fim_min_tokens to {MIN_ROW_LEN} or more",
        )
    width = row_files.token_bytes(codec.vocab_size)
    settings = Settings(row_len=row_len, fim=fim, seed=seed, width=width)
    work.mkdir(parents=True, exist_ok=True)
    tasks = [(split, path, sha256_file(path)) for split in SPLITS for path in shards(documents, split)]
    tokenized = perform(
        Step(
            name="tokenize",
            version=versions.TOKENIZE,
            settings=settings.to_json() | {"tokenizer": codec.digest},
            identity=lambda task: {"split": task[0], "documents": task[2]},
            run=partial(_tokenize, tokenizer, codec.digest, settings),
        ),
        tasks,
        directory=work,
        executor=executor,
        progress=lambda done, total: progress(done, total, "shards tokenized"),
    )
    parts = {
        split: Shards([output for task, output in zip(tasks, tokenized, strict=True) if task[0] == split])
        for split in SPLITS
    }
    start = time.perf_counter()
    packings = {split: best_fit(part.lengths, row_len) for split, part in parts.items()}
    fitted = time.perf_counter() - start
    row_tasks = [t for split in SPLITS for t in _row_tasks(split, parts[split], packings[split], settings)]
    written = perform(
        Step(
            name="rows",
            version=versions.ROWS,
            settings={"row_len": row_len, "width": width, "pad_id": codec.pad_id},
            identity=_RowTask.identity,
            run=partial(_write_rows, row_len, width, codec.pad_id),
        ),
        row_tasks,
        directory=work,
        executor=executor,
        progress=lambda done, total: progress(done, total, "shards of rows"),
    )
    row_shards = list(_link(row_tasks, written, out))
    size = sum(part.total("bytes") for part in parts.values())
    log(rates(size, [{"best fit": fitted}, *(output.seconds for output in (*tokenized, *written))]))
    train, val = parts["train"], parts["val"]
    facts = {
        "num_sequences": len(packings["train"]),
        "val_sequences": len(packings["val"]),
        "tokens": int(train.lengths.sum()),
        "val_tokens": int(val.lengths.sum()),
        "val_bytes": val.total("bytes"),
        "fill": packings["train"].fill,
        "row_len": row_len,
        "token_bytes": width,
        "vocab_size": codec.vocab_size,
        "eos_id": codec.eos_id,
        "pad_id": codec.pad_id,
        "pieces": len(train.lengths),
        "fim_pieces": train.total("fim_pieces"),
        "documents": train.total("documents"),
        "fim_documents": train.total("fim_documents"),
    }
    return Packed(facts, _tally(tokenized).rows(), row_shards)


def _tally(tokenized: Sequence[Output]) -> Tally:
    tally = Tally()
    for output in tokenized:
        tally.load(output.path / SOURCES)
    return tally


def _tokenize(
    tokenizer: Path, digest: str, settings: Settings, task: tuple[str, Path, str], directory: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    split, documents, _ = task
    return tokenize(load_codec(tokenizer, digest), settings, split, documents, directory)


@dataclass(frozen=True)
class _RowTask:
    """The rows of one file."""

    split: str
    sources: tuple[tuple[Path, str], ...]
    """Files of tokens, with their digests."""
    pieces: NDArray[np.int64]
    """[n, 3]: file, offset and length of every piece, row after row."""
    counts: NDArray[np.int64]
    """Pieces of each row."""

    def identity(self) -> dict[str, Any]:
        used = np.unique(self.pieces[:, 0]).tolist()
        return {
            "split": self.split,
            "sources": {str(number): self.sources[number][1] for number in used},
            "rows": hashlib.sha256(self.pieces.tobytes() + self.counts.tobytes()).hexdigest(),
        }


def _row_tasks(split: str, part: Shards, packing: Packing, settings: Settings) -> Iterator[_RowTask]:
    """Rows in a random order, so that neighbours come from everywhere, cut into files of SHARD_BYTES."""
    sources = tuple((output.path / TOKENS, output.files[TOKENS]["sha256"]) for output in part.outputs)
    stored = order(len(packing), seed=settings.seed, epoch=STORED_ORDER)
    rows_per_shard = max(1, SHARD_BYTES // (settings.row_len * settings.width))
    # A split without a row still has a file, which says so.
    for first in range(0, max(1, len(stored)), rows_per_shard):
        rows = [packing.row(row) for row in stored[first : first + rows_per_shard].tolist()]
        pieces = np.concatenate([np.empty(0, np.int64), *rows])
        where = np.stack([part.files[pieces], part.offsets[pieces], part.lengths[pieces]], axis=1)
        yield _RowTask(split, sources, where, np.array([len(row) for row in rows], dtype=np.int64))


def _write_rows(
    row_len: int, width: int, pad_id: int, task: _RowTask, directory: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    start = time.perf_counter()
    padding = np.full(row_len, pad_id, dtype=f"<u{width}").tobytes()
    # Read where they lie, not mapped: what is mapped and touched counts as this process's memory.
    with _OpenFiles([path for path, _ in task.sources]) as files:

        def rows() -> Iterator[row_files.Row]:
            pieces = iter(task.pieces.tolist())
            for count in task.counts.tolist():
                row = [next(pieces) for _ in range(count)]
                tokens = b"".join(files.read(file, n * width, offset * width) for file, offset, n in row)
                whole = tokens + padding[len(tokens) :]
                yield np.frombuffer(whole, f"<u{width}"), np.cumsum([n for _, _, n in row], dtype=np.int32)

        row_files.write(directory / "rows.parquet", rows(), row_len=row_len, token_bytes=width)
    facts = {"rows": len(task.counts), "tokens": int(task.pieces[:, 2].sum())}
    return facts, {"rows": time.perf_counter() - start}


def _link(tasks: Sequence[_RowTask], written: Sequence[Output], out: Path) -> Iterator[Shard]:
    """Numbers the files of each split through. They stay where they were made as well, until the run is done."""
    for split in SPLITS:
        made = [output for task, output in zip(tasks, written, strict=True) if task.split == split]
        targets = link_shards([output.path / "rows.parquet" for output in made], out, split)
        for output, target in zip(made, targets, strict=True):
            file = output.files["rows.parquet"]
            yield Shard(file=target.name, sha256=file["sha256"], bytes=file["bytes"], **output.facts)


class _OpenFiles:
    """Files read at random, the last used of them open: a process may not open as many as a large corpus has."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()

    def read(self, number: int, size: int, offset: int) -> bytes:
        file = self._open.pop(number, None) or self._paths[number].open("rb")
        self._open[number] = file
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return os.pread(file.fileno(), size, offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()
