"""``python -m albor`` and the console script ``albor``."""

from __future__ import annotations

import sys

from albor.errors import INTERRUPTED


def main() -> None:
    try:
        from albor.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the imports above were under way
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
