"""Programs in other languages: files, and commands to compile and run them."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MOST_OUTPUT = 1 << 20
"""Bytes of a program's output that are read; what follows is thrown away."""
SHOWN = 1000


def run(files: Mapping[str, str], steps: Sequence[Sequence[str]], word: str) -> tuple[str, str]:
    """Status and detail. A step that fails ends it; the last must print ``word``, which stands in the last lines of the
    program: one that ends early does not come to it."""
    for name, content in files.items():
        Path(name).write_text(content, encoding="utf-8")
    output = b""
    for step in steps:
        code, output = _step(step)
        if code:
            text = output.decode(errors="replace").strip().replace(word, "")[-SHOWN:]
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return ("error" if step is not steps[-1] else "failed"), f"{step[0]}: {how}: {text}"
    if word.encode() not in output:
        return "failed", "ended before its tests were over"
    return "passed", ""


def _step(step: Sequence[str]) -> tuple[int, bytes]:
    with subprocess.Popen(step, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        output = _read(process.stdout.fileno(), process)
        return process.wait(), output


def _read(descriptor: int, process: subprocess.Popen[bytes]) -> bytes:
    """What is printed until the process ends or its output does; a child that keeps the pipe open is not waited for."""
    kept = bytearray()
    while True:
        ready = select.select([descriptor], [], [], 0.05)[0]
        if ready:
            part = os.read(descriptor, 1 << 16)
            if not part:
                return bytes(kept)
            kept += part[: MOST_OUTPUT - len(kept)]
        elif process.poll() is not None:
            return bytes(kept)
