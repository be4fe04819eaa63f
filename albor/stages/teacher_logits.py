"""What a teacher finds likely in every training row, stored once: what a student learns from offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.distill import AlborTeacher
from albor.config.types import Count
from albor.contracts.distillation import WAYS_OUT
from albor.errors import AlborError
from albor.stages import distill, pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from albor.data.logits import Layout, Logits
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec
    from albor.training.likelihood import Scorer

READ = 256
"""Rows read at a time."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the teacher_logits stage alone."""

    name: Literal["teacher_logits"] = "teacher_logits"
    """The stage's name."""
    check_batches: Count = 100
    """Batches that are computed again in the end and compared with what was stored (FALSIFY-ALBOR-006)."""
    shard_tokens: Count = 1 << 20
    """Tokens of a file, about: what an interruption costs at most."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    return {"rows": "pack", "tokenizer": "tokenizer", "teacher": distill.teacher(cfg)}


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """The teacher, and what computes it. Raises AlborError."""
    from importlib.util import find_spec

    from albor.training.vllm_scorer import not_installed

    if by_vllm(cfg) and find_spec("vllm") is None:
        raise not_installed()
    distill.fetch_teacher(cfg, given)


def by_vllm(cfg: Whole) -> bool:
    return not isinstance(cfg.teacher, AlborTeacher) and cfg.teacher.backend == "vllm"


def cost(cfg: Whole, given: Mapping[str, Facts]) -> Cost:
    each = cfg.distill.bytes_per_token(cfg.model.vocab_size)
    rows = given.get("rows", {}).get("num_sequences", cfg.data.num_sequences)
    if rows is None:
        return Cost(notes=(f"{each:,} bytes a token",))
    tokens = int(rows) * cfg.data.seq_len
    size = given.get("teacher", {}).get("parameters")
    if size is None and not isinstance(cfg.teacher, AlborTeacher):
        size = cfg.teacher.active
    flops = None if size is None else 2.0 * size * tokens
    speed = (getattr(cfg.hardware.peak_flops, cfg.trainer.precision) or 0.0) * cfg.hardware.mfu
    return Cost(
        tokens=tokens,
        flops=flops,
        disk=tokens * each,
        seconds=flops / speed if flops and speed else None,
    )


def run(cfg: Whole, context: Context) -> Facts:
    from albor.data import logits
    from albor.data.parquet import link_shards, shards
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec
    from albor.runs.files import sha256_file

    given, tokenizer = context.inputs["rows"], context.inputs["tokenizer"].path
    codec, rows = Codec.load(tokenizer), Rows(shards(given.path, "train"))
    place = pretrain.local(context.inputs["teacher"])
    wanted = cfg.distill
    kept = {"top_k": wanted.top_k, "sampled": wanted.samples, "chunks": 1}[wanted.kept]
    layout = logits.Layout(
        keep=wanted.kept,
        k=min(kept, codec.vocab_size),
        seq_len=cfg.data.seq_len,
        token_bytes=rows.token_bytes,
        temperature=wanted.softened,
    )
    said = chunks(cfg, rows, codec, place) if layout.keep == "chunks" else positions(cfg, rows, layout, codec, place)
    scribe = Scribe(cfg, context, len(rows), layout, said)
    files = list(scribe.write())
    stored = logits.Logits(files)
    counted = counts(stored) if layout.keep == "chunks" else {}
    link_shards(files, context.out, logits.SPLIT)
    check = scribe.check(stored, cfg.stage.check_batches)
    return {
        "num_sequences": len(rows),
        "tokens": len(rows) * layout.seq_len,
        "bytes_per_token": layout.bytes_per_token,
        "keep": layout.keep,
        "temperature": layout.temperature,
        "seq_len": layout.seq_len,
        "rows": given.digest or given.id,
        "tokenizer_sha256": sha256_file(tokenizer / "tokenizer.json"),
        **counted,
        "check": check,
    }


Said = Callable[["NDArray[np.int64]"], "tuple[Tensor, ...]"]
"""What is to be stored of the rows of these numbers."""


def positions(cfg: Whole, rows: Rows, layout: Layout, codec: Codec, place: Path) -> Said:
    """What a teacher with the same tokens says after each of them. Raises AlborError when they are others."""
    import torch

    from albor.inference.engine import derive_seed
    from albor.models.attention import documents
    from albor.training.base import attention
    from albor.training.dictation import dictate
    from albor.training.run import DTYPES
    from albor.training.teacher import load_teacher

    distill.refuse_other_tokens(codec, place)
    trainer, device = cfg.trainer, torch.device(cfg.trainer.accelerator)
    teacher = load_teacher(place, dtype=DTYPES[trainer.precision], device=device, compile=trainer.compile)

    def said(indices: NDArray[np.int64]) -> tuple[Tensor, ...]:
        stored, _ = rows.read(indices)
        tokens = torch.from_numpy(stored[:, : layout.seq_len].astype("int64")).to(device)
        mask = documents(tokens, codec.eos_id) if trainer.document_mask else None
        seed = derive_seed(cfg.seed, int(indices[0])) >> 1
        with attention(device, trainer):
            return dictate(
                teacher, tokens, mask, layout, vocab_size=codec.vocab_size, seed=seed, compile=trainer.compile
            )

    return said


def chunks(cfg: Whole, rows: Rows, codec: Codec, place: Path) -> Said:
    """What a teacher with any byte-level tokenizer says of the chunks of text that both tokenizers have.

    Raises AlborError when its tokenizer is none.
    """
    import torch

    from albor.data.alignment import Alignment
    from albor.data.tokenizer import Codec

    score, start_id = scorer(cfg, place)
    alignment = Alignment(codec, Codec.of_model(place), start_id=start_id, context=score.context)

    def said(indices: NDArray[np.int64]) -> tuple[Tensor, ...]:
        tokens, ends = rows.read(indices)
        marks, documents = alignment.read(tokens, ends, cfg.data.seq_len)
        alignment.write(marks, documents, score([document.ids for document in documents]))
        return (torch.from_numpy(marks)[:, :, None],)

    return said


def scorer(cfg: Whole, place: Path) -> tuple[Scorer, int | None]:
    """What computes the teacher of a directory, and the token that begins its texts."""
    import torch

    from albor.training.likelihood import TeacherScorer
    from albor.training.run import DTYPES
    from albor.training.teacher import load_teacher, reading
    from albor.training.vllm_scorer import VllmScorer

    trainer, known = cfg.trainer, reading(place)
    if by_vllm(cfg):
        dtype = "float32" if trainer.precision == "float32" else "bfloat16"
        return VllmScorer(place, context=known.context, dtype=dtype), known.start_id
    device = torch.device(trainer.accelerator)
    # Documents have all lengths: a compiled block would be compiled for each.
    teacher = load_teacher(place, dtype=DTYPES[trainer.precision], device=device, compile=False)
    made = TeacherScorer(teacher, device, context=known.context, tokens=trainer.micro_batch_size * cfg.data.seq_len)
    return made, known.start_id


def counts(stored: Logits) -> dict[str, int]:
    """How many chunks the teacher scored, and how many it could not. Raises AlborError when there is none."""
    import numpy as np

    from albor.data.alignment import UNSCORED

    scored = left_out = 0
    for first in range(0, len(stored), READ):
        indices = np.arange(first, min(first + READ, len(stored)))
        (marks,) = stored.read(indices, stored.layout.seq_len)
        scored, left_out = scored + int((marks <= 0).sum()), left_out + int((marks == UNSCORED).sum())
    if not scored:
        raise AlborError(
            "the teacher can score no chunk of these rows: its tokens and the student's spell no text alike",
            WAYS_OUT,
            code="E-TEACHER",
        )
    return {"chunks": scored, "chunks_left_out": left_out}


class Scribe:
    """Writes what the teacher says, batch by batch of ``trainer.micro_batch_size`` rows in their order."""

    def __init__(self, cfg: Whole, context: Context, rows: int, layout: Layout, said: Said) -> None:
        self.cfg, self.context, self.rows, self.layout, self.said = cfg, context, rows, layout, said

    def batches(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        import numpy as np

        size = self.cfg.trainer.micro_batch_size
        for start in range(first, last, size):
            yield np.arange(start, min(start + size, last))

    def write(self) -> Iterator[Path]:
        """The shards' files; those of an earlier attempt are kept."""
        from albor.data import logits
        from albor.training.dictation import Copies, write_behind

        size = self.cfg.trainer.micro_batch_size
        directory = self.context.work
        directory.mkdir(exist_ok=True)
        per_shard = max(1, self.cfg.stage.shard_tokens // (self.layout.seq_len * size)) * size
        for number, first in enumerate(range(0, self.rows, per_shard)):
            path = directory / f"{number:05d}.parquet"
            last = min(first + per_shard, self.rows)
            if not path.exists():
                parts = (Copies(self.said(indices)) for indices in self._told(first, last))
                write_behind(parts, partial(logits.write, path, layout=self.layout))
            yield path

    def _told(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        for indices in self.batches(first, last):
            yield indices
            self.context.progress(int(indices[-1]) + 1, self.rows, "rows")

    def check(self, stored: Logits, wanted: int) -> dict[str, Any]:
        """Batches from all over, computed again and compared: the fact that FALSIFY-ALBOR-006 judges."""
        from albor.training.dictation import apart

        batches = list(self.batches(0, self.rows))
        chosen = batches[:: max(1, len(batches) // wanted)][:wanted]
        worst = 0.0
        for done, indices in enumerate(chosen, start=1):
            found = apart(stored.read(indices, self.layout.seq_len), self.said(indices), self.layout)
            worst = max(worst, found)
            self.context.progress(done, len(chosen), "batches checked")
        if self.layout.keep == "sampled":
            return {"batches": len(chosen), "redrawn_equal": worst == 0}
        return {"batches": len(chosen), "max_difference": worst}


STAGE = Stage(
    name="teacher_logits",
    version=1,
    makes="logits",
    config=Config,
    reads=(
        "model",
        "data.seq_len",
        "seed",
        "teacher",
        *(f"distill.{key}" for key in ("kept", "softened", "top_k", "samples")),
        *(f"trainer.{key}" for key in ("micro_batch_size", "precision", "accelerator", "document_mask", "compile")),
        "trainer.deterministic",
    ),
    label=lambda cfg: f"{cfg.model.name}-{cfg.distill.kept}",
    inputs=inputs,
    requires=requires,
    cost=cost,
    run=run,
    accelerated=True,
    resumable=True,
)
