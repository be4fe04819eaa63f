"""Saves checkpoints in a loop, is killed in the middle of it, and looks at what is left. Prints its figures as JSON.

python saver.py DIRECTORY ROUNDS SEED

A round is a child process that saves steps without end, every third of them twice, and is killed with SIGKILL at a
random moment. It says which steps were on disk; the newest that is found must be that one or a later one.
"""

import json
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from albor.training.checkpoint import Writer, load, load_latest, steps
from albor.training.errors import TrainingError

SIZE = 1 << 18


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"w": torch.full((SIZE,), float(step)), "b": torch.full((7,), float(step), dtype=torch.bfloat16)}


def save_without_end(directory: Path, first: int, report: int) -> None:
    with Writer(directory, keep_last=2, keep_best=1, files={"run.yaml": "seed: 1\n"}) as writer:
        for step in range(first, first + 10_000):
            for _ in range(2 if step % 3 == 0 else 1):
                writer.save(tensors(step), {f"{name}.m": t for name, t in tensors(step).items()}, {"step": step})
                writer.scored(step, 1 / step)
                writer.wait()
                os.write(report, step.to_bytes(4, "little"))


def kill_one(directory: Path, first: int, after: float) -> int:
    """The last step that the child said was on disk; ``first - 1`` when none was."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        save_without_end(directory, first, write)
        os._exit(1)
    os.close(write)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as report:
        said = report.read()
    return int.from_bytes(said[-4:], "little") if said else first - 1


def main() -> None:
    directory, rounds, draw = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    logging.disable()
    torch.set_num_threads(1)  # a fork keeps no threads
    figures = {"rounds": rounds, "saved": 0, "cut_off": 0, "lost": 0, "unloadable": 0, "wrong": 0}
    last = 0
    for _ in range(rounds):
        durable = kill_one(directory, last + 1, draw.uniform(0.0, 0.3))
        figures["saved"] += durable - last
        figures["cut_off"] += any(path.name.startswith(".writing-") for path in directory.glob(".*"))
        try:
            found = load_latest(directory)
            for path in steps(directory):
                load(path)
        except TrainingError:
            figures["unloadable"] += 1
            continue
        step = found.state["step"] if found is not None else 0
        figures["lost"] += step < durable
        if found is not None:
            figures["wrong"] += not all(torch.equal(found.model[n], t) for n, t in tensors(step).items())
        last = step
    Writer(directory, keep_last=2, keep_best=1, files={}).close()
    figures["left_over"] = sum(path.name.startswith(".") for path in directory.iterdir())
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
