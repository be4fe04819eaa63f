"""Peak memory of a command and everything it starts, as the kernel shares it out (PSS); Linux only."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

INTERVAL = 0.2


def tree_pss(pid: int) -> int:
    """Bytes of a process and all below it; pages that they share are counted once."""
    return sum(_pss(child) for child in _tree(pid))


def run(command: Sequence[str], cwd: Path, *, environment: dict[str, str] | None = None) -> tuple[float, int]:
    """Wall seconds and peak bytes. Pages that processes share are counted once; page cache is not counted.

    Raises RuntimeError when the command fails.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, stderr=subprocess.PIPE, text=True
    ) as process:
        peak = 0
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(INTERVAL):
                peak = max(peak, tree_pss(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, errors = process.communicate()
        done.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}:\n{errors}")
    return time.perf_counter() - start, peak


def _tree(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _pss(pid: int) -> int:
    """Anonymous memory and shared memory of a process; mapped files are the page cache's."""
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return 1024 * sizes["Pss"]
