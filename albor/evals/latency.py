"""How long a token takes at batch 1, as somebody who waits for a completion sees it."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from albor.data.tokenizer import Codec
from albor.inference.engine import Engine, Request
from albor.inference.opening import computed_by, open_engine


@dataclass(frozen=True)
class Latency:
    ms_per_token: float
    """The median of the rounds, the reading of the prompt included."""
    engine: str
    device: str


def measure(directory: Path, prompt: str, *, new_tokens: int, rounds: int) -> Latency:
    """Greedy continuations of ``new_tokens`` at most, one after the other; the first is not counted."""
    engine, codec = open_engine(directory, batch_size=1), Codec.of_model(directory)
    request = Request(prompt=tuple(codec.encode(prompt)), max_new_tokens=new_tokens)
    times = [_time(engine, request) for _ in range(rounds + 1)][1:]
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    return Latency(median(times), computed_by(directory), device)


def _time(engine: Engine, request: Request) -> float:
    """Milliseconds a token."""
    began = time.perf_counter()
    (_, ids), *_ = engine.generate([request])
    return 1000 * (time.perf_counter() - began) / max(1, len(ids))
