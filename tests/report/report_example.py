"""A made-up run for the report's tests: shapes and curves only, no measurement."""

from __future__ import annotations

import math
import random
from typing import Any

from albor.report.model import Ancestor, Headline, Number, Report

PROMPT = 'def read_lines(path):\n    """Return the lines of a text file.'
COMPLETION = '''"""
    with open(path) as file:
        return [line.rstrip("\\n") for line in file]  # 1 list


class Reader:
'''
QUEUE = (
    "import heapq\n\n\nclass PriorityQueue:\n    def __init__(self):\n",
    """        self._items = []
        self._count = 0

    def push(self, item, priority=0.5):
        heapq.heappush(self._items, (-priority, self._count, item))
        self._count += 1
""",
)
MIDDLE = (
    "<|fim_prefix|>def mean(values):\n    total = <|fim_suffix|>\n    return total / len(values)\n<|fim_middle|>",
    "sum(values)",
)
SHA = "9f2c1e7ab04d5c88a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788"[:64]


def rows(steps: int = 10_000, every: int = 500, seed: int = 7) -> list[dict[str, Number]]:
    """Training rows of a made-up run, a validation row each ``every`` steps, as metrics.jsonl holds them."""
    rng = random.Random(seed)
    made: list[dict[str, Number]] = []
    clock, per_step = 1_760_000_000.0, 8192
    for step in range(1, steps + 1):
        clock += rng.uniform(0.30, 0.36)
        trend = 3.1 + 5.9 * math.exp(-step / (steps * 0.02 + 1)) + 0.8 * math.exp(-step / (steps * 0.3))
        warm = min(1.0, step / max(1, steps // 20))
        lr = 6e-4 * warm * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        spike = 6.0 if step == steps * 2 // 3 else 0.0
        made.append(
            {
                "time": round(clock, 2),
                "step": step,
                "tokens": step * per_step,
                "loss": trend + rng.gauss(0, 0.09) + spike / 4,
                "lr": lr,
                "grad_norm": 0.4 + 2.5 * math.exp(-step / 300) + abs(rng.gauss(0, 0.12)) + spike,
                "tokens_per_second": 25_000 + rng.gauss(0, 500) - (9_000 if step % 1000 == 0 else 0),
            }
        )
        if step % every == 0:
            val = trend + 0.06
            made.append(
                {
                    "step": step,
                    "tokens": step * per_step,
                    "val_loss": val,
                    "val_ppl": math.exp(val),
                    "val_bits_per_byte": val / math.log(2) / 3.1,
                }
            )
    return made


def lineage() -> list[Ancestor]:
    def run(stage: str, name: str, seconds: float, facts: dict[str, Any], *inputs: str) -> Ancestor:
        sha = SHA[len(stage) :] + SHA[: len(stage)]
        return Ancestor(stage, name, f"{stage}-{name}-0a1b2c3d", sha, seconds, facts, inputs)

    return [
        run("source", "stdlib", 2.1, {"files": 1786, "bytes": 28_411_903, "licence": "PSF-2.0"}),
        run("corpus", "stdlib_dedup", 31.4, {"documents": 1702, "dropped": 84}, "source/stdlib"),
        run("tokenizer", "bpe_8k", 12.8, {"vocab": 8192, "bytes_per_token": 3.87}, "corpus/stdlib_dedup"),
        run(
            "tokenize",
            "rows_512",
            9.9,
            {"tokens": 7_340_032, "rows": 14_336},
            "corpus/stdlib_dedup",
            "tokenizer/bpe_8k",
        ),
        run("decontaminate", "humaneval", 4.0, {"matches": 0}, "corpus/stdlib_dedup"),
        Ancestor(
            "pretrain",
            "tiny",
            "pretrain-tiny-4be1c0de",
            SHA,
            3312.0,
            {"parameters": 3_934_656, "steps": 10_000},
            ("tokenize/rows_512", "tokenizer/bpe_8k", "decontaminate/humaneval"),
        ),
    ]


def report(**changes: Any) -> Report:
    """A finished run with everything in it."""
    fields: dict[str, Any] = {
        "title": "Tiny, on the standard library",
        "run_id": "pretrain-tiny-4be1c0de",
        "stage": "pretrain",
        "status": "done",
        "started": "2025-11-20T09:14:03.512+00:00",
        "finished": "2025-11-20T10:09:15+00:00",
        "headline": Headline(3_934_656, 81_920_000, 10_000, 8211.4, 24.53, 1.489, 24_890.0, 3312.0, 8192, 10_000),
        "metrics": rows(),
        "samples": [
            (PROMPT, COMPLETION),
            QUEUE,
            MIDDLE,
        ],
        "evaluation": {
            "val_loss": 3.1999,
            "val_ppl": 24.53,
            "byte_ppl": 2.807,
            "bits_per_byte": 1.489,
            "tokens": 412_160,
            "bytes": 1_277_696,
            "fim/exact_match": 0.043,
        },
        "config": {
            "stage": {"name": "pretrain", "fim_rate": 0.5},
            "seed": 42,
            "model": {
                "name": "tiny",
                "hidden": 192,
                "layers": 6,
                "heads": 6,
                "kv_heads": 2,
                "ffn": 512,
                "vocab": 8192,
                "tied": True,
            },
            "optim": {
                "lr": 6e-4,
                "betas": [0.9, 0.95],
                "weight_decay": 0.1,
                "schedule": {"name": "cosine", "floor": 0.1},
            },
            "trainer": {
                "max_steps": 10_000,
                "warmup_steps": 500,
                "micro_batch_size": 16,
                "grad_accum": 1,
                "precision": "32-true",
            },
            "data": {"seq_len": 512, "num_sequences": None},
            "tracking": {"mode": "offline"},
            "hardware": {"name": "cpu"},
        },
        "lineage": lineage(),
        "environment": {
            "git_commit": "3288e13d0f",
            "lock_hash": SHA[:16],
            "python": "3.11.9",
            "torch": "2.13.0+cpu",
            "machine": "x86_64, 2 cores, Linux 6.1",
        },
        "command": "python -m albor stage=pretrain model=tiny trainer.max_steps=10000 optim.lr=6e-4 seed=42",
    }
    return Report(**{**fields, **changes})
