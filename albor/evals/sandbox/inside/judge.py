"""The process that holds the tests. The program runs in another one, so nothing it does can touch the verdict: it can
give answers, and right ones pass."""

from __future__ import annotations

import builtins
import json
import os
import socket
import traceback
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

from albor.evals.sandbox.inside import candidate, confine
from albor.evals.sandbox.inside.evalplus import Wrong
from albor.evals.sandbox.inside.wire import HEAD, Closed, Ended, Foreign, Peer

TEST = "<test>"
Job = dict[str, Any]
Verdict = dict[str, Any]


def judge(jobs: socket.socket, limits: Mapping[str, Any], *, contained: bool) -> Verdict:
    """Takes a job and says how its program did: status and detail.

    The program's process is forked before the job is read: it has no memory of tests to look for.
    """
    if contained:
        confine.enter_namespaces(limits["disk"], maps=limits["maps"])
    ours, theirs = socket.socketpair()
    pid = confine.fork()
    if pid == 0:
        ours.close()
        try:
            candidate.main(theirs, limits, contained=contained)
        finally:
            os._exit(1)
    theirs.close()
    confine.limit({**limits, "processes": 1 << 20})
    job = receive(jobs)
    peer = Peer(ours, trusting=False)
    try:
        return KINDS[job["kind"]](peer, job)
    except Closed:
        return {"status": "crashed", "detail": how_it_ended(pid)}
    except (Ended, Foreign) as error:
        return {"status": "error", "detail": str(error)}
    except Wrong as error:
        return {"status": "failed", "detail": str(error)}
    except AssertionError as error:
        return {"status": "failed", "detail": failing_line(error, job.get("test", "")) or text_of(error)}
    except Exception as error:
        return {"status": "error", "detail": text_of(error)}


def receive(jobs: socket.socket) -> Job:
    (size,) = HEAD.unpack(jobs.recv(HEAD.size, socket.MSG_WAITALL))
    return dict(json.loads(jobs.recv(size, socket.MSG_WAITALL)))


def functions(peer: Peer, job: Job) -> Verdict:
    """A test calls functions of the program. Names that the reference defines are the reference's and built-in ones
    Python's, but for the entry point; without one, all are the program's."""
    code = compile(job["test"], TEST, "exec")
    space: dict[str, Any] = {"__name__": "test", "__builtins__": builtins}
    exec(compile(job["reference"], "<reference>", "exec"), space)
    entry = job["entry_point"]
    others = space.keys() | (vars(builtins).keys() if entry else set())
    wanted = frozenset(names_in(code)) - (others - {entry})
    given = peer.ask("load", job["program"], wanted)
    space.update((name, given[name]) for name in wanted if name in given)  # what else it gives is not taken
    exec(code, space)
    return {"status": "passed", "detail": ""}


def script(peer: Peer, job: Job) -> Verdict:
    """The program holds its own tests, and has passed when it comes to its end."""
    peer.ask("script", job["program"])
    return {"status": "passed", "detail": ""}


def command(peer: Peer, job: Job) -> Verdict:
    """Files, and commands of which each must succeed; the last one must also print the job's secret word."""
    status, detail = peer.ask("command", job["files"], job["steps"], job["word"])
    return {"status": str(status), "detail": str(detail)}


KINDS = {"functions": functions, "script": script, "command": command}


def names_in(code: CodeType) -> Iterator[str]:
    """Every global name that some code may look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def how_it_ended(pid: int) -> str:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code} before its tests were over"


def text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1000].removesuffix(": ")


def failing_line(error: BaseException, test: str) -> str:
    """The line of the test that did not hold."""
    lines = test.splitlines()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == TEST and frame.lineno and frame.lineno <= len(lines):
            return lines[frame.lineno - 1].strip()[:1000]
    return ""
