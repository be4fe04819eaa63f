"""``albor doctor``: what this machine has and lacks for training here. Never fails; exit 2 when nothing can run."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from albor.cli.arguments import Arguments
from albor.cli.render import paint, table
from albor.config.units import human_bytes
from albor.errors import AlborError
from albor.runs.environment import installed
from albor.runs.store import outputs_of
from albor.runs.tracking import logged_in

LANGUAGES = {"node": "JavaScript", "g++": "C++"}
COLOURS = {"ok": "green", "lacks": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Check:
    name: str
    verdict: str
    """ok, lacks (something optional) or bad."""
    text: str


def run(arguments: Arguments) -> int:
    outputs = outputs_of(arguments.overrides, there=False)
    checks = [c for probe in PROBES for c in probe(outputs)]
    if arguments.json:
        print(json.dumps([c.__dict__ for c in checks], indent=1))
    else:
        rows = [[c.name, paint(c.verdict, COLOURS[c.verdict]), c.text] for c in checks]
        print(table([["", "", ""], *rows]).split("\n", 1)[1])
    return 2 if any(c.verdict == "bad" for c in checks) else 0


def python(outputs: Path) -> Iterator[Check]:
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check("python", "ok" if good else "bad", f"{platform.python_version()} ({sys.executable})")


def packages(outputs: Path) -> Iterator[Check]:
    for name in ("torch", "lightning", "hydra-core", "omegaconf", "tokenizers", "pyarrow", "safetensors", "wandb"):
        found = installed(name)
        bad = found is None or (name == "lightning" and found in ("2.6.2", "2.6.3"))
        text = found or "not installed: make setup"
        yield Check(name, "bad" if bad else "ok", f"{text}: this release was malware" if bad and found else text)


def devices(outputs: Path) -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("cpu", "ok", f"{cores} cores, {platform.machine()}")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        yield Check("gpu", "lacks", "no nvidia-smi: training runs on the CPU (trainer=cpu)")
        return
    query = [smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    for line in done.stdout.strip().splitlines() or [done.stderr.strip() or "nvidia-smi shows none"]:
        yield Check("gpu", "ok" if done.returncode == 0 else "lacks", line)


def memory(outputs: Path) -> Iterator[Check]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Check("memory", "ok", human_bytes(total))


def disk(outputs: Path) -> Iterator[Check]:
    place = outputs.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    text = f"{human_bytes(free)} free at {place}" + ("" if writable else ", not writable: outputs=DIR")
    yield Check("disk", "ok" if writable else "bad", text)


def tools(outputs: Path) -> Iterator[Check]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    yield Check("compiler", "ok" if compiler else "lacks", compiler or "none: trainer.compile=true needs a C compiler")
    git = shutil.which("git")
    yield Check("git", "ok" if git else "lacks", git or "none: runs will not know their commit")


def sandbox(outputs: Path) -> Iterator[Check]:
    """Whether programs written by a model can be run safely here: by making a sandbox."""
    from albor.evals.sandbox.workers import Sandbox, started

    try:
        started(Sandbox.of_this_python()).close()
    except AlborError as error:
        yield Check("sandbox", "lacks", f"{error.cause}: {error.help}")
    else:
        found = [f"{language} ({tool})" for tool, language in LANGUAGES.items() if shutil.which(tool)]
        yield Check("sandbox", "ok", f"bubblewrap runs programs in {', '.join(['Python', *found])}")


def tracking(outputs: Path) -> Iterator[Check]:
    if importlib.util.find_spec("wandb") is None:
        return
    text = "logged in: runs are online" if logged_in() else "no login: runs are kept offline (wandb login, wandb sync)"
    yield Check("w&b", "ok" if logged_in() else "lacks", text)


PROBES: tuple[Callable[[Path], Iterator[Check]], ...] = (
    python,
    packages,
    devices,
    memory,
    disk,
    tools,
    sandbox,
    tracking,
)
