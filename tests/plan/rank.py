"""What a rank may come to, without torch: python rank.py DOINGS, one for each rank and separated by commas."""

import os
import signal
import sys
import time
from types import FrameType

from albor.runs.world import die_with_starter, join


def stop(number: int, frame: FrameType | None) -> None:
    print(signal.Signals(number).name, flush=True)
    sys.exit(75)


die_with_starter()
world = join()
doing, _, seconds = sys.argv[1].split(",")[world.rank].partition(":")
print(f"rank {world.rank} of {world.size}", file=sys.stderr, flush=True)
if doing == "obeys":
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signal_number, stop)
time.sleep(float(seconds or 0))
if doing == "waits":
    print(os.getpid(), flush=True)
if doing in ("obeys", "waits"):
    time.sleep(60)
if doing == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
if doing.startswith("says"):
    world.report(f"error {doing[4:]}", f"cause {doing[4:]}")
    sys.exit(2)
sys.exit(int(doing))
