"""``python -m albor`` and the console script ``albor``."""

from __future__ import annotations

import sys


def main() -> None:
    from albor.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
