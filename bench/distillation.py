"""What a teacher costs: while its probabilities are written down, and while a student learns from it.

    python -m bench.distillation [--model 350m] [--hardware h200] [--micro-batch 32] [--steps 40] [--rounds 3]
        [OVERRIDE …]

The teacher is a checkpoint of the student's own model, three steps old: what it says does not change how long it takes.
First its passes over the same batches, in one process and interleaved: hidden states and all logits, which are dropped;
the same with what is kept of them (top-k, draws), written to disk. Then steps of albor's command: pretraining, a
student beside its teacher, and students of stored probabilities. On a CPU, for a try:
`--model tiny --hardware cpu --micro-batch 4 --steps 6 --warm-up 2 data.max_documents=300`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.timing import machine
from bench.train_throughput import Bench, arguments, metrics

BATCHES = 16
"""Of one timed pass."""


class Distillation(Bench):
    def teacher(self) -> Path:
        directory, _ = self.albor(*self.overrides(steps=3))
        return directory

    def student(self, *own: str) -> float:
        """Median tokens a second of a distill run."""
        self._runs += 1
        name = f"student-{self._runs}"
        command = [
            "-m",
            "albor",
            "stage=distill",
            f"name={name}",
            "stage.of=null",
            *self.overrides(steps=self.steps),
            *own,
        ]
        self._run([sys.executable, *command])
        [directory] = (self.store / "outputs/distill").glob(f"{name}-*")
        lines = [line for line in metrics(directory) if line.get("step", 0) > self.given.warm_up]
        return float(statistics.median(line["tokens_per_second"] for line in lines if "tokens_per_second" in line))


def passes(bench: Distillation, teacher: Path) -> None:
    """Tokens a second of the teacher alone, and with what is kept of its words written to disk."""
    import torch
    import torch.nn.functional as F

    from albor.data.logits import Layout, write
    from albor.data.parquet import shards
    from albor.data.rows import Rows
    from albor.models.loss import LOGIT_BYTES
    from albor.plan.nodes import Node
    from albor.training.base import attention
    from albor.training.dictation import Copies, dictate, write_behind
    from albor.training.run import DTYPES
    from albor.training.teacher import load_teacher
    from bench.training_step import plan

    node = plan(bench.overrides(steps=3))
    config = node.config
    trainer, seq_len, vocab = config.trainer, config.data.seq_len, config.model.vocab_size
    device = torch.device(trainer.accelerator)
    made = load_teacher(teacher / "artifact", dtype=DTYPES[trainer.precision], device=device, compile=trainer.compile)
    source = node.inputs["rows"]
    assert isinstance(source, Node)
    packed = bench.store / "outputs/pack" / source.directory.name / "artifact"
    rows = Rows(shards(packed, "train"))
    import numpy as np

    size = trainer.micro_batch_size
    batches = [
        torch.from_numpy(rows.read(np.arange(n * size, (n + 1) * size) % len(rows))[0][:, :seq_len].astype("int64"))
        for n in range(BATCHES)
    ]

    @torch.no_grad()
    def forward() -> None:
        for tokens in batches:
            hidden = made.hidden(tokens.to(device, non_blocking=True)).flatten(0, 1)
            for part in hidden.split(max(1, LOGIT_BYTES[device.type] // (4 * vocab))):
                F.linear(part, made.head)

    def kept(layout: Layout, path: Path) -> None:
        def parts() -> Iterator[Copies]:
            for number, tokens in enumerate(batches):
                moved = tokens.to(device, non_blocking=True)
                said = dictate(made, moved, None, layout, vocab_size=vocab, seed=number, compile=trainer.compile)
                yield Copies(said)

        write_behind(parts(), partial(write, path, layout=layout))

    common: dict[str, Any] = {"seq_len": seq_len, "token_bytes": rows.token_bytes}
    top = Layout(keep="top_k", k=128, temperature=4.0, **common)
    draws = Layout(keep="sampled", k=12, temperature=1.0, **common)
    lines: dict[str, Callable[[], None]] = {
        "forward pass and all logits, dropped": forward,
        f"top 128 written, {top.bytes_per_token} bytes a token": partial(kept, top, bench.store / "top.parquet"),
        f"12 draws written, {draws.bytes_per_token} bytes a token": partial(kept, draws, bench.store / "draws.parquet"),
    }
    taken: dict[str, list[float]] = {name: [] for name in lines}
    for round_ in range(bench.given.rounds + 1):
        for name, line in lines.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            with attention(device, trainer):
                line()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_:
                taken[name].append(time.perf_counter() - began)
    print("| the teacher's passes | tokens/s | of the first |\n|---|---|---|")
    rates = {name: BATCHES * size * seq_len / statistics.median(times) for name, times in taken.items()}
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {rate / next(iter(rates.values())):.1%} |", flush=True)


def students(bench: Distillation, teacher: Path) -> None:
    alone = bench.command().tokens_per_second
    print(f"\n| a step of | tokens/s | of pretraining |\n|---|---|---|\n| pretraining | {alone:,.0f} | |", flush=True)
    for title, own in (
        ("a student beside its teacher", [f"inputs.teacher={teacher}", "distill.route=online"]),
        ("a student of the top 128", ["distill=offline", f"inputs.teacher={teacher}"]),
        ("a student of 12 draws", ["distill=sampled", f"inputs.teacher={teacher}"]),
    ):
        began = time.monotonic()
        try:
            rate = bench.student(*own)
        except RuntimeError as error:
            print(f"{title}:\n{error}", file=sys.stderr, flush=True)
            continue
        print(f"| {title} | {rate:,.0f} | {rate / alone:.1%} |", flush=True)
        print(f"{title}: {time.monotonic() - began:.0f} s in all", file=sys.stderr)


def main() -> int:
    given = arguments(__doc__, rounds=3).parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Distillation(given, Path(temporary))
        bench.build()
        print(f"{machine()}; {given.hardware}, {given.model}: {bench.sizes['parameters']:,} parameters, "
              f"{bench.sizes['seq_len']:,} tokens a row, micro-batch {given.micro_batch}\n", flush=True)  # fmt: skip
        teacher = bench.teacher()
        passes(bench, teacher)
        students(bench, teacher)
    return 0


if __name__ == "__main__":
    sys.exit(main())
