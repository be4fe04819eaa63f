"""Commands side by side, each when what it waits for is done: an evaluation beside the next training.

    python -m bench.lanes FILE [--store DIR] [--also OVERRIDE …]

FILE is YAML: ``lanes``, each a list of tasks that run one after the other; a task has a ``name`` and either ``albor``,
overrides, or ``python``, a module and its arguments; ``after`` names tasks of other lanes. In both, {STAGE/LABEL} is
the directory of the newest run of that label, and @ladder/NAME is what that ladder says of its rungs. ``--also`` goes
to every albor. What each task said is in STORE/lanes/NAME.log, what came of it in STORE/lanes/done.jsonl as soon as it
is known. A task whose predecessor failed is not begun; one that failed by itself is given once more, and goes on from
its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from albor.errors import INTERRUPTED

TRIES = 2
REFUSED = 2
CONF = Path(__file__).parents[1] / "conf"
PLACEHOLDER = re.compile(r"\{([a-z_]+)/([^{}]+)\}")


class Lanes:
    """The tasks of a file."""

    def __init__(self, lanes: dict[str, list[dict[str, Any]]], store: Path, also: Sequence[str]) -> None:
        self.lanes, self.store, self.also = lanes, store, also
        self.logs = store / "lanes"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.codes: dict[str, int] = {}
        self.changed = threading.Condition()
        names = [task["name"] for tasks in lanes.values() for task in tasks]
        missing = {name for tasks in lanes.values() for task in tasks for name in task.get("after", [])} - set(names)
        if missing or len(set(names)) < len(names):
            raise SystemExit(f"no such tasks, or of one name: {', '.join(sorted(missing) or names)}")

    def run(self) -> int:
        threads = [threading.Thread(target=self._lane, args=(tasks,)) for tasks in self.lanes.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1 if any(self.codes.values()) else 0

    def _lane(self, tasks: Sequence[dict[str, Any]]) -> None:
        for task in tasks:
            with self.changed:
                while not set(task.get("after", [])) <= self.codes.keys():
                    self.changed.wait()
                failed = any(self.codes[name] for name in task.get("after", []))
            start = time.time()
            code = 1 if failed else self._told(task)
            with self.changed:
                self.codes[task["name"]] = code
                with (self.logs / "done.jsonl").open("a") as file:
                    said = {"name": task["name"], "code": code, "start": start, "seconds": time.time() - start}
                    file.write(json.dumps(said) + "\n")
                self.changed.notify_all()

    def _told(self, task: dict[str, Any]) -> int:
        """A task that cannot be given at all has failed: the other lanes go on."""
        try:
            return self._task(task)
        except Exception:
            (self.logs / f"{task['name']}.log").write_text(traceback.format_exc())
            return 1

    def _task(self, task: dict[str, Any]) -> int:
        said = (said_by(word) for word in shlex.split(task.get("albor") or task["python"]))
        words = [PLACEHOLDER.sub(self._made, word) for several in said for word in several]
        command = [sys.executable, "-m", *(("albor", *words, *self.also) if "albor" in task else words)]
        with (self.logs / f"{task['name']}.log").open("w") as log:
            for _ in range(TRIES):
                code = subprocess.run(command, cwd=self.store, stdout=log, stderr=log, check=False).returncode
                if code in (0, REFUSED, INTERRUPTED):
                    break
        return code

    def _made(self, match: re.Match[str]) -> str:
        stage, label = match.groups()
        found = (self.store / "outputs" / stage).glob(f"{label}-{'[0-9a-f]' * 12}")
        newest = max(found, key=lambda run: run.stat().st_mtime, default=None)
        # What is not there is refused by the command itself, by the name it was asked for.
        return str((newest or self.store / "outputs" / stage / label).relative_to(self.store))


def said_by(word: str) -> list[str]:
    """The overrides of a ladder, or the word."""
    if not word.startswith("@"):
        return [word]
    return list(yaml.safe_load((CONF / f"{word[1:]}.yaml").read_text())["overrides"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--store", type=Path, default=Path())
    parser.add_argument("--also", nargs="*", default=[])
    given = parser.parse_args()
    return Lanes(yaml.safe_load(given.file.read_text())["lanes"], given.store.resolve(), given.also).run()


if __name__ == "__main__":
    sys.exit(main())
