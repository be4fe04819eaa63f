"""``python -m albor.exec RUN_DIR``: the process of one stage run. What it does is in ``worker.py``."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import TextIO, TypeVar

from albor.errors import INTERRUPTED

T = TypeVar("T")


class Lasting(io.TextIOWrapper):
    """Standard output or error whose terminal may be closed while the stage still saves: what is written from then on
    goes nowhere."""

    @classmethod
    def instead_of(cls, stream: TextIO) -> Lasting:
        return cls(stream.buffer, stream.encoding, stream.errors, line_buffering=True)

    def write(self, text: str) -> int:
        return self._lasting(super().write, text)

    def flush(self) -> None:
        self._lasting(super().flush)

    def _lasting(self, act: Callable[..., T], *given: str) -> T:
        try:
            return act(*given)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EPIPE):
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return act(*given)


def run() -> None:
    # An interrupt while the imports are under way has nothing to save, and ends this process as any signal would: who
    # started it tells of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout, sys.stderr = Lasting.instead_of(sys.stdout), Lasting.instead_of(sys.stderr)
    from albor.worker import main

    code = main()
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # answered: a second one has nothing left to end
    sys.exit(code)


if __name__ == "__main__":
    run()
