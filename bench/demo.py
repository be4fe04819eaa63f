"""The demo from a bare clone: set-up, first run, second run, and what its rungs are.

    python -m bench.demo [--python python3]

Clones the checkout's committed state into a temporary directory and runs `make setup`, `make demo`, `make demo`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.timing import machine


def timed(command: list[str], cwd: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
        [ladder] = [run["facts"] for run in json.loads(listed.stdout) if run["stage"] == "ladder"]
    report(setup, first, second, ladder["rungs"])


def report(setup: float, first: float, second: float, rungs: dict[str, dict[str, Any]]) -> None:
    print(machine())
    print("\n| measure | target | reached |\n|---|---|---|")
    print(f"| the install | – | {setup:.0f} s |")
    print(f"| six rungs, each evaluated | < 600 s | {first:.0f} s |")
    print(f"| second run | < 15 s | {second:.1f} s |")
    print("\n| rung | parameters | bytes | val_ppl | bits/byte | ms a token |\n|---|---|---|---|---|---|")
    for name, rung in rungs.items():
        print(f"| {name} | {rung['parameters']:,} | {rung['bytes']:,} | {rung['val_ppl']:.1f} | "
              f"{rung['bits_per_byte']:.3f} | {rung['ms_per_token']:.2f} {rung['engine']} |")  # fmt: skip


if __name__ == "__main__":
    main()
