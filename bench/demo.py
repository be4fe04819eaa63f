"""The demo from a bare clone: set-up, first run, second run, and whether its model learnt.

    python bench/demo.py [--python python3]

Clones the checkout's committed state into a temporary directory and runs `make setup`, `make demo`, `make demo`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.timing import machine

VOCABULARY = 8192


def timed(command: list[str], cwd: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter for the clone's environment")
    python = parser.parse_args().python
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "albor"
        subprocess.run(["git", "clone", "-q", str(here), str(clone)], check=True)
        setup = timed(["make", "setup", f"PYTHON={python}"], clone)
        first = timed(["make", "demo"], clone)
        second = timed(["make", "demo"], clone)
        listed = subprocess.run(
            [".venv/bin/python", "-m", "albor", "runs", "--json"], cwd=clone, check=True, capture_output=True, text=True
        )
        runs = {r["stage"]: r["facts"] for r in json.loads(listed.stdout)}
    report(setup, first, second, runs)


def report(setup: float, first: float, second: float, runs: dict[str, dict[str, float]]) -> None:
    initial, final = runs["pretrain"]["initial_val_loss"], runs["pretrain"]["val_ppl"]
    off = initial / math.log(VOCABULARY) - 1
    print(machine())
    print("\n| measure | target | reached |\n|---|---|---|")
    print(f"| bare clone to report | < 600 s | {setup + first:.0f} s |")
    print(f"| without the install | < 300 s | {first:.0f} s |")
    print(f"| second run | does nothing | {second:.1f} s |")
    print(f"| loss at initialisation against ln {VOCABULARY:,} | within 2% | {off:+.2%} ({initial:.4f}) |")
    print(f"| validation perplexity falls | ≥ 10× | {math.exp(initial) / final:.1f}× "
          f"({math.exp(initial):,.0f} → {final:,.1f}) |")  # fmt: skip
    print(f"| tokens a second while training | – | {runs['pretrain']['tokens_per_second']:,.0f} |")


if __name__ == "__main__":
    main()
