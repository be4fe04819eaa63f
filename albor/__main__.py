"""``python -m albor`` and the console script ``albor``."""

from __future__ import annotations

import os
import sys

from albor.errors import INTERRUPTED


def main() -> None:
    open_closed_streams()
    try:
        from albor.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the imports above were under way
        code = INTERRUPTED
    sys.exit(code)


def open_closed_streams() -> None:
    """What a closed standard stream (``>&-``) is sent goes nowhere; the next file opened would be taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the stream's own
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


if __name__ == "__main__":
    main()
