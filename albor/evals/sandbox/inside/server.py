"""The first process of a sandbox: warm, trusted, and the parent of every judge.

A job that comes in on the line is left there for a judge to read; the answer is a line of JSON. It is process 1 of its
sandbox, so that killing everything else is one system call, and nothing outlives a job.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albor.evals.sandbox.inside import confine, seccomp
from albor.evals.sandbox.inside.judge import Verdict, judge, text_of

# fmt: off
WARM = (
    "abc", "array", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "io", "itertools", "json", "math", "operator", "os", "random", "re", "statistics",
    "string", "struct", "time", "typing",
)
# fmt: on
"""What programs import, loaded once."""
LOOK = 0.1
"""Seconds between looks at what a job takes."""
PATIENCE = 3.0
"""Times its limit of processor time that a program may last: one that sleeps, or that others keep from running."""
TICKS = os.sysconf("SC_CLK_TCK")
OWN = re.compile(r"^Rss(?:Anon|Shmem):\s*([0-9]+) kB$", re.MULTILINE)
"""Memory of a process that is no file's."""
LONGEST_ANSWER = 1 << 16
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Arguments: "contained" or "free", every job's limits as JSON, modules to import. The line is descriptor 0."""
    contained, limits = sys.argv[1] == "contained", json.loads(sys.argv[2])
    limits["maps"] = len(sys.argv) > 3
    jobs = socket.socket(fileno=os.dup(0))
    if contained:
        confine.become_nobody()
    else:
        confine.check(confine.libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
    for name in (*WARM, *sys.argv[3:]):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    silence(jobs)
    if contained:
        seccomp.prepare()
    gc.collect()
    gc.freeze()
    while jobs.recv(1, socket.MSG_PEEK):
        jobs.sendall(json.dumps(answer(jobs, limits, contained=contained)).encode() + b"\n")


def silence(jobs: socket.socket) -> None:
    """Programs read nothing and print to nowhere, and hold nothing open but the line."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, jobs.fileno())
    os.closerange(jobs.fileno() + 1, 1 << 16)


def answer(jobs: socket.socket, limits: Mapping[str, Any], *, contained: bool) -> Verdict:
    """Has the waiting job judged; whatever was started for it is gone when this returns."""
    began = time.perf_counter()
    reading, writing = os.pipe()
    pid = confine.fork()
    if pid == 0:
        try:
            os.close(reading)
            verdict = judge(jobs, limits, contained=contained)
        except BaseException as error:  # the sandbox itself: no namespace, no memory
            verdict = {"status": "broken", "detail": text_of(error)}
        with contextlib.suppress(OSError):
            os.write(writing, json.dumps(verdict).encode())
        os._exit(0)
    os.close(writing)
    try:
        verdict = wait(reading, jobs, began, limits)
    finally:
        os.close(reading)
        end_all(contained=contained)
    verdict["seconds"] = time.perf_counter() - began
    return verdict


def wait(reading: int, jobs: socket.socket, began: float, limits: Mapping[str, Any]) -> Verdict:
    """The verdict, or that a limit was reached. Time is the processors': another program's load is nobody's fault.

    Ends the sandbox when nobody is left to be answered.
    """
    deadline = began + PATIENCE * limits["seconds"]
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    poller.register(jobs, select.POLLRDHUP)
    while (left := deadline - time.perf_counter()) > 0:
        events = dict(poller.poll(1000 * min(left, LOOK)))
        if jobs.fileno() in events:
            sys.exit("nobody waits for this any more")
        if reading in events:
            data = os.read(reading, LONGEST_ANSWER)
            return dict(json.loads(data)) if data else {"status": "crashed", "detail": "its judge was killed"}
        seconds, memory = taken()
        if memory > limits["memory"]:
            return {"status": "crashed", "detail": f"its processes hold more than {limits['memory']:,} bytes"}
        if seconds >= limits["seconds"]:
            break
    return {"status": "timeout", "detail": ""}


def taken() -> tuple[float, int]:
    """Processor time (seconds) and memory (bytes) of all processes but this one, as far as they can be seen.

    Memory that several share counts for each of them: it has no other owner that a limit would bind.
    """
    ticks = kilobytes = 0
    for pid in processes():
        with contextlib.suppress(OSError, ValueError):
            # The name in the second field may hold anything.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes += sum(map(int, OWN.findall(status)))
    return ticks / TICKS, kilobytes << 10


def processes() -> list[int]:
    """Those below this one."""
    found, look = [], [os.getpid()]
    while look:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{look.pop()}/task").iterdir():  # a child belongs to the thread that forked it
                with contextlib.suppress(OSError):
                    children = [int(word) for word in (thread / "children").read_text().split()]
                    found += children
                    look += children
    return found


def end_all(*, contained: bool) -> None:
    """Kills and reaps every process below this one. As process 1 it may kill all there are; else it is the one that
    orphans come to, and kills until none is left."""
    while True:
        if contained:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            for pid in processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
