"""Tasks for the executors' tests: what a process of any kind can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from albor.data.errors import DataError


class Fussy(Exception):
    """Cannot be made again from its arguments, as pickling would."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"because of {reason}")


def square(number: int) -> int:
    return number * number


def power(exponent: int, number: int) -> int:
    return int(number**exponent)


def environment(name: str) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get(name)


def arrow(_: int) -> tuple[int, int]:
    import pyarrow

    return os.getpid(), pyarrow.cpu_count()


def fail(number: int) -> int:
    match number:
        case 3:
            raise DataError("no. 3 is empty", help="fill it")
        case 4:
            raise ZeroDivisionError("no. 4")
        case 5:
            raise Fussy(reason="no. 5")
        case 6:
            raise SystemExit(6)
        case 7:
            return lambda: number  # type: ignore[return-value]  # a result that cannot be sent
    return number


def die(how: str) -> str:
    print(f"last words before {how or 'nothing'}", file=sys.stderr, flush=True)
    match how:
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
    return how


def note(directory: Path, number: int) -> int:
    """Leaves a file that says where it ran; number 0 fails once two others are under way, which would go on long."""
    (directory / f"{number}.pid").write_text(str(os.getpid()))
    while number == 0 and len(list(directory.iterdir())) < 2:
        time.sleep(0.01)
    if number == 0:
        raise DataError("no. 0", help="none")
    time.sleep(600)
    return number
