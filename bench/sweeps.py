"""What a trial of a sweep costs besides its own work: ``python -m bench.sweeps``.

The stage does nothing and is none of albor's: it is added to a copy of the package, as a user's fork would add one.
A sweep of 100 points and one of a single point are timed; their difference, by 99, is what a trial costs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import albor
from albor.config.location import conf_directory
from bench.timing import machine, seconds

NOOP = '''\
"""Nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.config import Config as Whole
from albor.stages.base import Context, Facts, Stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the stage alone."""

    name: Literal["noop"] = "noop"
    """The stage's name."""


def run(cfg: Whole, context: Context) -> Facts:
    (context.out / "nothing.txt").write_text(str(cfg.seed))
    return {"seed": cfg.seed}


STAGE = Stage(
    name="noop", version=1, makes="nothing", config=Config, reads=("seed",),
    label=lambda cfg: "noop", inputs=lambda cfg: {}, run=run,
)
'''


def package_with_noop(place: Path) -> None:
    """A copy of albor and its conf with a stage that does nothing."""
    ours = Path(albor.__file__).parent
    shutil.copytree(ours, place / "albor", ignore=shutil.ignore_patterns("__pycache__", "conf"))
    shutil.copytree(conf_directory(), place / "conf")
    (place / "albor/stages/noop.py").write_text(NOOP)
    (place / "conf/stage/noop.yaml").write_text("name: noop\n")


def sweep(points: int, launcher: str) -> list[str]:
    command = [sys.executable, "-m", "albor", "-m", "stage=noop", "tracking=none", f"seed=range(0,{points})"]
    return [*command, f"hydra/launcher={launcher}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--launchers", nargs="*", default=["basic", "joblib"])
    arguments = parser.parse_args()
    print(machine())
    print(f"| launcher | one point | {arguments.points} points | again, all done | a trial |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        package_with_noop(place)
        os.environ["PYTHONPATH"] = str(place)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds(sweep(2, "basic"), place)  # compiles the copy
        for launcher in arguments.launchers:
            rounds = []
            for _ in range(arguments.rounds):
                times = []
                for points in (1, arguments.points):
                    shutil.rmtree(place / "outputs")
                    times.append(seconds(sweep(points, launcher), place))
                again = seconds(sweep(arguments.points, launcher), place)
                rounds.append((*times, again, (times[1] - times[0]) / (arguments.points - 1)))
            one, many, again, trial = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"| {launcher} | {one:.2f} s | {many:.1f} s | {again:.2f} s | **{trial:.3f} s** |", flush=True)


if __name__ == "__main__":
    main()
