"""A teacher's probabilities of every training row, stored once: what a student learns from offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.schema.distill import AlborTeacher
from albor.config.types import Count
from albor.stages import distill, pretrain
from albor.stages.base import Context, Cost, Facts, Stage, Upstream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from albor.data.logits import Layout
    from albor.data.rows import Rows


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
    codec = Codec.load(tokenizer)
    place = pretrain.local(context.inputs["teacher"])
    distill.refuse_other_tokens(codec, place)
    rows = Rows(shards(given.path, "train"))
    wanted = cfg.distill
    layout = logits.Layout(
        keep=wanted.keep,
        k=min(wanted.samples if wanted.keep == "sampled" else wanted.top_k, codec.vocab_size),
        seq_len=cfg.data.seq_len,
        token_bytes=rows.token_bytes,
        temperature=wanted.temperature,
    )
    scribe = Scribe(cfg, context, rows, layout, codec, place)
    files = list(scribe.write())
    link_shards(files, context.out, logits.SPLIT)
    check = scribe.check(logits.Logits(files), cfg.stage.check_batches)
    return {
        "num_sequences": len(rows),
        "tokens": len(rows) * layout.seq_len,
        "bytes_per_token": layout.bytes_per_token,
        "keep": layout.keep,
        "temperature": layout.temperature,
        "seq_len": layout.seq_len,
        "rows": given.digest or given.id,
        "tokenizer_sha256": sha256_file(tokenizer / "tokenizer.json"),
        "check": check,
    }


class Scribe:
    """Writes what the teacher says, batch by batch of ``trainer.micro_batch_size`` rows in their order."""

    def __init__(self, cfg: Whole, context: Context, rows: Rows, layout: Layout, codec: Any, place: Any) -> None:
        import torch

        from albor.training.run import DTYPES
        from albor.training.teacher import load_teacher

        trainer = cfg.trainer
        self.cfg, self.context, self.rows, self.layout, self.codec = cfg, context, rows, layout, codec
        self.device = torch.device(trainer.accelerator)
        self.teacher = load_teacher(place, dtype=DTYPES[trainer.precision], device=self.device, compile=trainer.compile)

    def batches(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        import numpy as np

        size = self.cfg.trainer.micro_batch_size
        for start in range(first, last, size):
            yield np.arange(start, min(start + size, last))

    def dictated(self, indices: NDArray[np.int64]) -> Any:
        """What the teacher says of some rows, on the device."""
        import torch

        from albor.inference.engine import derive_seed
        from albor.models.attention import documents
        from albor.training.base import attention
        from albor.training.dictation import dictate

        stored, _ = self.rows.read(indices)
        tokens = torch.from_numpy(stored[:, : self.layout.seq_len].astype("int64")).to(self.device)
        mask = documents(tokens, self.codec.eos_id) if self.cfg.trainer.document_mask else None
        seed = derive_seed(self.cfg.seed, int(indices[0])) >> 1
        with attention(self.device, self.cfg.trainer):
            return dictate(
                self.teacher,
                tokens,
                mask,
                self.layout,
                vocab_size=self.codec.vocab_size,
                seed=seed,
                compile=self.cfg.trainer.compile,
            )

    def write(self) -> Iterator[Any]:
        """The shards' files; those of an earlier attempt are kept."""
        from albor.data import logits
        from albor.training.dictation import Copies, write_behind

        size = self.cfg.trainer.micro_batch_size
        directory = self.context.work
        directory.mkdir(exist_ok=True)
        per_shard = max(1, self.cfg.stage.shard_tokens // (self.layout.seq_len * size)) * size
        for number, first in enumerate(range(0, len(self.rows), per_shard)):
            path = directory / f"{number:05d}.parquet"
            last = min(first + per_shard, len(self.rows))
            if not path.exists():
                parts = (Copies(self.dictated(indices)) for indices in self._told(first, last))
                write_behind(parts, partial(logits.write, path, layout=self.layout))
            yield path

    def _told(self, first: int, last: int) -> Iterator[NDArray[np.int64]]:
        for indices in self.batches(first, last):
            yield indices
            self.context.progress(int(indices[-1]) + 1, len(self.rows), "rows")

    def check(self, stored: Any, wanted: int) -> dict[str, Any]:
        """Batches from all over, computed again and compared: the fact that FALSIFY-ALBOR-006 judges."""
        from albor.training.dictation import apart

        batches = list(self.batches(0, len(self.rows)))
        chosen = batches[:: max(1, len(batches) // wanted)][:wanted]
        worst = 0.0
        for done, indices in enumerate(chosen, start=1):
            found = apart(stored.read(indices, self.layout.seq_len), self.dictated(indices), self.layout)
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
        *(f"distill.{key}" for key in ("temperature", "keep", "top_k", "samples")),
        *(f"trainer.{key}" for key in ("micro_batch_size", "precision", "accelerator", "document_mask", "compile")),
        "trainer.deterministic",
    ),
    label=lambda cfg: f"{cfg.model.name}-{cfg.distill.keep}",
    inputs=inputs,
    requires=distill.requires,
    cost=cost,
    run=run,
    resumable=True,
)
