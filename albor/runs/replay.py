"""Training a part of a run again, beside it: what the second run is, and whether it came to the same numbers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from albor.runs import manifest
from albor.runs.checkpoints import DIRECTORY, step_of, steps
from albor.runs.lineage import input_path
from albor.runs.manifest import BASIS, EXTERNAL, InputRef
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run

COMPARED = ("loss", "grad_norm", "lr", "val_loss")
"""What a step must come to again. JSON keeps every bit of a float."""
DECISIVE = {
    "git_commit": "commit",
    "torch": "torch",
    "python": "Python",
    "platform": "system",
    "host": "machine",
    "cpus": "processors",
    "omp_num_threads": "OMP_NUM_THREADS",
}
"""What of a run's environment may change bits, and what it is called."""


@dataclass(frozen=True)
class Step:
    """What a step came to, then and now: metrics by name."""

    number: int
    then: Mapping[str, Any]
    now: Mapping[str, Any]

    @property
    def differing(self) -> list[str]:
        """The metrics that were recorded and are another now. The step of the checkpoint that training went on from has
        a validation again, and nothing else."""
        return [key for key in COMPARED if key in self.then and key in self.now and self.now[key] != self.then[key]]


def second(found: Run, place: Path, stop_at: int) -> Path:
    """Makes a run directory below ``place`` that trains as ``found`` did, from its checkpoints before step ``stop_at``
    and to that step. Nothing in it is shared with ``found`` that training writes to; it is tracked nowhere.

    Raises OSError.
    """
    directory = place / found.manifest.stage / found.directory.name
    directory.mkdir(parents=True)
    config = {**found.manifest.config, "alerts": {}}
    config["tracking"] = {**config["tracking"], "mode": "disabled"}
    inputs = {name: moved(ref, found.directory, directory) for name, ref in found.manifest.inputs.items()}
    planned = replace(found.manifest, config=config, inputs=inputs, files={}, facts={}, digest=None, stop_at=stop_at)
    manifest.save(directory, planned.to("planned", error=None, environment={}))
    if (found.directory / BASIS).exists():
        shutil.copy2(found.directory / BASIS, directory / BASIS)
    for path in steps(found.directory / DIRECTORY):
        if (step_of(path) or 0) < stop_at:
            # Links, because a checkpoint may be large: its files are replaced or removed, never written to.
            shutil.copytree(path, directory / DIRECTORY / path.name, copy_function=link)
    return directory


def moved(ref: InputRef, old: Path, new: Path) -> InputRef:
    """The same input, as seen from another directory."""
    return ref if ref.stage in EXTERNAL else replace(ref, path=os.path.relpath(input_path(old, ref), new))


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def metrics(directory: Path) -> dict[int, dict[str, Any]]:
    """A run's metrics by step. After a resume steps are logged again, and the later lines hold."""
    found: dict[int, dict[str, Any]] = {}
    path = directory / METRICS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue  # torn by a process that was killed
        if "step" in values:
            found.setdefault(values["step"], {}).update(values)
    return found


def compare(then: Path, now: Path, last: int) -> list[Step]:
    """The steps to ``last`` that two run directories both recorded."""
    recorded, again = metrics(then), metrics(now)
    both = sorted(number for number in recorded.keys() & again.keys() if 0 < number <= last)
    return [Step(number, recorded[number], again[number]) for number in both]


def changes(then: Path, now: Path) -> list[str]:
    """What differs between the environments and inputs of two run directories, and may be why bits do."""
    old, new = manifest.load(then), manifest.load(now)
    found = [
        f"{title} {new.environment.get(key)}, then {old.environment.get(key)}"
        for key, title in DECISIVE.items()
        if new.environment.get(key) != old.environment.get(key)
    ]
    if new.environment.get("git_dirty") or old.environment.get("git_dirty"):
        found.append("the code has changes that are not committed, now or then")
    rebuilt = [name for name, ref in old.inputs.items() if ref.digest and ref.digest != new.inputs[name].digest]
    return found + [f"the input {name} was built again and is another" for name in rebuilt]
