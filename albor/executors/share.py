"""``python -m albor.executors.share DIR CPUS``: a job's share of the tasks of a map, worked through in its process."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

from albor.executors.tasks import Outcome, attempt, threads
from albor.runs.files import atomic_path

TASKS, OUTCOMES = "tasks.pickle", "outcomes.pickle"


def main(arguments: list[str]) -> None:
    """Works up to the first task that fails."""
    place = Path(arguments[0])
    # Before the task's modules are imported, which is why they come pickled: their libraries read this only once.
    os.environ.update(threads(int(arguments[1])))
    function, tasks = pickle.loads((place / TASKS).read_bytes())
    outcomes: list[Outcome] = []
    for task in tasks:
        outcomes.append(attempt(function, task))
        if not outcomes[-1].succeeded:
            break
    with atomic_path(place / OUTCOMES) as path:
        path.write_bytes(pickle.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1:])
