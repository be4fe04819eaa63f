"""What the measurement scripts share: whole-process times, interleaved, and the machine they were taken on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def seconds(command: Sequence[str], cwd: Path, *, expect: int = 0) -> float:
    """Wall time of one process, from start to exit. Raises when its exit code is another than expected."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != expect:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}, not {expect}:\n{done.stderr}")
    return took


def medians(commands: Mapping[str, Sequence[str]], cwd: Path, *, runs: int) -> dict[str, float]:
    """Median seconds of each command. The runs are interleaved, so that all meet the same weather; the first round
    only warms the caches."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(runs + 1):
        for name, command in commands.items():
            took = seconds(command, cwd)
            if round_:
                taken[name].append(took)
    return {name: statistics.median(times) for name, times in taken.items()}


def machine() -> str:
    """One line: processor, cores, memory, system, Python, commit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [_processor(), f"{cores} cores", f"{memory:.0f} GiB", f"{platform.system()} {platform.release()}"]
    return f"{', '.join(parts)}, Python {platform.python_version()}, commit {commit()}"


def commit() -> str:
    """The short commit, with a + when the working tree differs from it."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude", "*"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine()
