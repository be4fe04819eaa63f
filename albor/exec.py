"""``python -m albor.exec RUN_DIR``: the process of one stage run. What it does is in ``worker.py``."""

from __future__ import annotations

import os
import signal
import sys

from albor.errors import INTERRUPTED


def run() -> None:
    """An interrupt while the imports are under way has nothing to save."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    from albor.worker import main

    code = main()
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # answered: a second one has nothing left to end
    sys.exit(code)


if __name__ == "__main__":
    run()
