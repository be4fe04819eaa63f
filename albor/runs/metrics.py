"""metrics.jsonl: one JSON object per line, flushed as it is written; the source of truth of a run's numbers."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

NAME = "metrics.jsonl"


class MetricsLog:
    """Appends to a run's metrics; a line torn by a killed process is ended first."""

    def __init__(self, directory: Path) -> None:
        path = directory / NAME
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        if torn:
            self._file.write("\n")

    def __call__(self, metrics: Mapping[str, float | int | str]) -> None:
        """Writes one line; any thread may. Non-finite values are written as null: JSON has no NaN."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}
        with self._lock:
            self._file.write(json.dumps({"time": round(time.time(), 3), **clean}) + "\n")

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
