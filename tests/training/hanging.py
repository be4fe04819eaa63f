"""A training loop that stops moving after a few steps; run as a program, alone or under torchrun.

python hanging.py DIRECTORY loader|forward|locked|slow|frozen [TIMEOUT]
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from albor.training.watchdog import Heartbeat

HANGS_AT = 3


class Loader:
    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(HANGS_AT + 2):
            if self.hangs and step == HANGS_AT:
                asleep_in_the_loader()
            yield torch.ones(4, 8)


def asleep_in_the_loader() -> None:
    time.sleep(600)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.stuck = False

    def forward(self, x: Tensor) -> Tensor:
        if self.stuck:
            asleep_in_forward()
        y: Tensor = self.inner(x)
        return y


def asleep_in_forward() -> None:
    time.sleep(600)


def main() -> int:
    torch.set_num_threads(1)
    directory, how = Path(sys.argv[1]), sys.argv[2]
    timeout = float(sys.argv[3]) if len(sys.argv) > 3 else 2.0
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    mine = rank == world - 1  # the last rank is the one that hangs
    net = Net()
    model: nn.Module = net
    if world > 1:
        torch.distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(net)
        model(torch.ones(4, 8)).sum().backward()  # the first one is slow, which the watchdog would remember

    def on_hang(cause: str) -> None:
        (directory / f"told-{rank}.txt").write_text(cause)
        if how == "loader":
            threading.Event().wait()  # a disk that does not answer

    with Heartbeat(directory, rank, world, timeout=timeout, start_timeout=60, on_hang=on_hang) as heart:
        stream = iter(Loader(how == "loader" and mine))
        for step in range(HANGS_AT + 2):
            heart.beat("reading the next batch", step)
            batch = next(stream)
            heart.beat("computing", step)
            if mine and step == HANGS_AT:
                net.stuck = how == "forward"
                if how == "locked":
                    ctypes.PyDLL(None).sleep(600)
                if how == "frozen":
                    os.kill(os.getpid(), signal.SIGSTOP)
            if how == "slow":
                time.sleep(0.3 if step < HANGS_AT else 2.5)
            model(batch).sum().backward()
            heart.beat("saving", step + 1)
            print(step + 1, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
