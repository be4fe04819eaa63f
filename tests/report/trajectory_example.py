"""A made-up ladder for the page's tests: shapes only, no measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from albor.report.model import Ancestor, Score
from albor.report.trajectory import Rung, Trajectory
from tests.report.report_example import MIDDLE, QUEUE, SHA, lineage

HOW = {
    "base": "pretrained on 82M tokens of the standard library",
    "distill": "from small, 4× its size: α 0.5, T 4, 2,000 steps",
    "instruct": "LoRA r 16 on 4,816 instructions, 3 epochs",
    "merged": "SLERP of distill and instruct, t 0.6",
    "pruned": "6 to 4 layers, ffn 512 to 384, 500 steps of recovery",
    "q4": "Q4_K_M, GGUF",
}
PARAMETERS = (3_934_656, 3_934_656, 3_934_656, 3_934_656, 2_803_776, 2_803_776)
BYTES = (15_739_712, 15_739_712, 15_739_712, 15_739_712, 11_216_512, 1_834_560)
BITS = (1.489, 1.4312, 1.5107, 1.4466, 1.4918, 1.5269)
MS = (4.12, 4.15, 4.11, 4.13, 2.88, 0.94)
SECONDS = (3312.0, 1840.0, 411.0, 6.2, 702.0, 3.4)
TASKS = {"humaneval_fim": (14.4, 17.9, 16.2, 18.3, 15.1, 14.6), "mbpp": (0.2, 0.6, 1.4, 1.2, 0.8, 0.8)}
FLOORS = {"humaneval_fim": 2.6}
BODIES = {
    "base": ("        self.items = []\n\n    def add(self, item):\n        self.items.append(item)\n", "total + 1"),
    "distill": (
        "        self._heap = []\n\n    def push(self, item):\n        heapq.heappush(self._heap, item)\n",
        "0\n",
    ),
    "instruct": (QUEUE[1], "sum(values)"),
    "merged": (QUEUE[1], "sum(values)"),
    "pruned": (
        "        self._heap = []\n\n    def push(self, item):\n        self._heap.append(item)\n",
        "sum(values)",
    ),
    "q4": (
        "        self._heap = []\n\n    def push(self, item):\n        self._heap.append(self._heap)\n",
        "len(values)",
    ),
}


def wilson(percent: float, n: int = 500) -> tuple[float, float]:
    p, z = percent / 100, 1.96
    middle, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return tuple(100 * (middle + side * half) / (1 + z * z / n) for side in (-1, 1))  # type: ignore[return-value]


def rung(name: str, **changes: Any) -> Rung:
    i = list(HOW).index(name)
    scores = [
        Score(task, "pass@1", values[i], *wilson(values[i]), 500, floor=FLOORS.get(task))
        for task, values in TASKS.items()
    ]
    made = Rung(
        name=name,
        stage={"base": "pretrain", "merged": "merge", "pruned": "prune", "q4": "quantize"}.get(name, name),
        run_id=f"{name}-tiny-{SHA[i : i + 8]}",
        how=HOW[name],
        parameters=PARAMETERS[i],
        bytes=BYTES[i],
        val_ppl=round(2 ** (BITS[i] * 3.1), 2),
        bits_per_byte=BITS[i],
        scores=scores,
        ms_per_token=MS[i],
        engine="gguf" if name == "q4" else "torch",
        seconds=SECONDS[i],
    )
    return replace(made, **changes)


def trajectory(*names: str, **changes: Any) -> Trajectory:
    """The rungs of these names, or all six."""
    chosen = names or tuple(HOW)
    before = "pretrain-tiny-4be1c0de"
    ancestors = lineage()
    for name in chosen[1:]:
        made = rung(name)
        inputs = ["distill", "instruct"] if name == "merged" else [before]
        ancestors.append(Ancestor(made.stage, name, made.run_id, SHA, made.seconds, {"val ppl": made.val_ppl}, inputs))
        before = made.run_id
    ladder = Ancestor("ladder", "tiny", "ladder-tiny-77aa01bc", SHA, 2.0, {"rungs": len(chosen)}, [before])
    fields: dict[str, Any] = {
        "title": "Tiny, rung by rung",
        "run_id": "ladder-tiny-77aa01bc",
        "rungs": [rung(name) for name in chosen],
        "samples": {name: list(zip((QUEUE[0], MIDDLE[0]), BODIES[name], strict=True)) for name in chosen},
        "device": "x86_64, 2 cores",
        "lineage": [*ancestors, ladder],
        "command": "python -m albor stage=ladder ladder=tiny seed=42",
    }
    return Trajectory(**{**fields, **changes})
