"""Whole-process times of the command line against ``python -c "import hydra"`` in the same run.

    python -m bench.cli [--runs 7]

Prints a Markdown table: what no command can be faster than by much is the import of Hydra, so that is the yardstick.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.timing import machine, medians

ALBOR = (sys.executable, "-m", "albor")
YARDSTICK = 'python -c "import hydra"'
SWEEP = ("validate", "-m", "stage=pretrain")
COMMANDS: dict[str, tuple[tuple[str, ...], float | None]] = {
    # title → (command, most times the yardstick)
    YARDSTICK: ((sys.executable, "-c", "import hydra"), None),
    "`albor ls`": ((*ALBOR, "ls"), 1.2),
    "`albor --help`": ((*ALBOR, "--help"), None),
    "`albor validate stage=pretrain`": ((*ALBOR, "validate", "stage=pretrain"), 2.5),
    "`albor plan`": ((*ALBOR, "plan"), 2.5),
    "preflight of 1,000 points": ((*ALBOR, *SWEEP, "optim.lr=range(1e-5,1.01e-3,1e-5)", "seed=range(0,10)"), 12),
    "preflight of 10,000 points": ((*ALBOR, *SWEEP, "optim.lr=range(1e-5,1.01e-3,1e-5)", "seed=range(0,100)"), 60),
    "preflight of 1,000 points over 10 configs": (
        (*ALBOR, *SWEEP, "model=tiny,small,50m,125m,350m", "tracking=none,wandb", "seed=range(0,100)"),
        None,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each command")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as place:
        taken = medians({title: command for title, (command, _) in COMMANDS.items()}, Path(place), runs=runs)
    unit = taken[YARDSTICK]
    print(f"{machine()}; medians of {runs} runs\n")
    print("| process | seconds | × import hydra | target |\n|---|---|---|---|")
    missed = []
    for title, (_, most) in COMMANDS.items():
        ratio = taken[title] / unit
        print(f"| {title} | {taken[title]:.3f} | {ratio:.2f} | {f'≤ {most:g}' if most else '–'} |")
        if most and ratio > most:
            missed.append(title)
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
