"""Carrying a plan out: a manifest for every stage run, then the runs one after the other, each in a process.

The chain is read off the manifests, so a sweep's job, on whatever machine, needs nothing but a run directory.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from albor.config.structure import plain
from albor.errors import INTERRUPTED, AlborError
from albor.plan.missing import missing
from albor.plan.nodes import External, Node, Plan
from albor.runs import manifest
from albor.runs.lineage import chain
from albor.runs.manifest import InputRef, Manifest
from albor.runs.store import ARTIFACT, Store, disk_error, exclusive, writable

Announce = Callable[[Path, Manifest], None]


def prepare(plan: Plan) -> None:
    """Writes the manifests of everything that is not done, sources first. Raises AlborError when it cannot."""
    writable(Path(plan.target.config.outputs))
    for node in plan.nodes:
        if node.state != "done":
            write_manifest(node, plan)


def check_machine(plan: Plan) -> None:
    """Raises AlborError when a run to be made here needs a device or source directories that are not here."""
    for node in plan.nodes:
        trainer = node.config.trainer
        if node.state != "done":
            refuse_missing(node)
        if node.state == "done" or not node.stage.distributed:
            continue
        nvidia = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
        has = {"cpu": True, "cuda": nvidia, "mps": sys.platform == "darwin"}
        if not has[trainer.accelerator]:
            cause = f"{node.name} trains on {trainer.accelerator}, which this machine does not have"
            fix = "run it where there is one, or add trainer=cpu hardware=cpu"
            raise AlborError(cause, fix, place=node.origins.find("trainer.accelerator"), code="E-DEVICE")


def refuse_missing(node: Node) -> None:
    """Raises AlborError when a source or the benchmarks are not where the config says."""
    for finding in missing(node.config, node.identity):
        place = node.origins.find(finding.path)
        raise AlborError(f"{finding.path}: {finding.message}", finding.help, place=place, code=finding.id)


def write_manifest(node: Node, plan: Plan) -> None:
    """A planned run's manifest; a run that can resume keeps its status and the time it was made."""
    before = node.run.manifest if node.run else None
    resumes = before is not None and node.state in ("interrupted", "running")
    planned = Manifest(
        stage=node.stage.name,
        version=node.stage.version,
        id=node.id,
        label=node.config.name or node.stage.label(node.config),
        status=before.status if before and resumes else "planned",
        command=command(plan.texts),
        config=plain(node.config),
        choices=dict(node.choices),
        identity=dict(node.identity),
        inputs={name: reference(i, node.directory) for name, i in node.inputs.items()},
        allowed=sorted({f.id for f in node.findings if f.id in node.config.allow}),
        group=plan.target.name,
        created=before.created if before else time.time(),
    )
    try:
        with exclusive(node.directory):
            now = Store(node.directory.parent).get(node.directory)
            finished_meanwhile = now and now.manifest.status == "done" and (before is None or before.status != "done")
            if not finished_meanwhile:
                manifest.save(node.directory, planned)
    except OSError as error:
        raise disk_error(error, node.directory) from None


def reference(source: Node | External, directory: Path) -> InputRef:
    """Where an input lies, as seen from the run's directory, so that a store can be moved whole. Its digest is filled
    in when the run starts."""
    if isinstance(source, External):
        path = source.path if source.stage in manifest.EXTERNAL else os.path.relpath(source.path, directory)
        return InputRef(stage=source.stage, id=source.id, path=str(path), digest=source.digest)
    path = os.path.relpath(source.directory / ARTIFACT, directory)
    return InputRef(stage=source.stage.name, id=source.id, path=path)


def command(texts: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "albor", *texts])


def build(directory: Path, announce: Announce, finished: Announce) -> int:
    """Runs what is not done of a run's chain; returns the first exit code that is not 0, else 0."""
    for place, run in chain(directory, unfinished=True):
        if run.status == "done":
            continue
        announce(place, run)
        code = execute(place, run)
        if code:
            return code
        finished(place, manifest.load(place))
    return 0


def launch_command(directory: Path, run: Manifest) -> list[str]:
    """One process, or torchrun with one per device."""
    from albor.stages.base import find

    devices = int(run.config["trainer"]["devices"])
    if devices == 1 or not find(run.stage).distributed:
        return [sys.executable, "-m", "albor.exec", str(directory)]
    ranks = ["--standalone", "--nproc-per-node", str(devices), "-m", "albor.exec", str(directory)]
    return [sys.executable, "-m", "torch.distributed.run", *ranks]


def execute(directory: Path, run: Manifest) -> int:
    """Runs one stage in a process of its own and waits; an interrupt reaches that process, which saves and ends."""
    command = launch_command(directory, run)
    process = subprocess.Popen(command, env=environment(run) | os.environ)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # A terminal sends SIGINT to the whole group, so the stage has it already; SIGTERM comes to this process alone.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code and "torch.distributed.run" in command and manifest.load(directory).status == "interrupted":
        return INTERRUPTED  # torchrun makes 1 of every rank's exit code
    if code in (-signal.SIGTERM, -signal.SIGINT):
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    if code < 0:
        killed = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        print(f"{run.stage} was killed by {signal.Signals(-code).name}{killed}", file=sys.stderr)
        return 1
    return code


def environment(run: Manifest) -> dict[str, str]:
    """Defaults for the stage's process; torchrun would give each rank one thread."""
    threads = max(1, (os.cpu_count() or 1) // int(run.config["trainer"]["devices"]))
    return {"PYTHONUNBUFFERED": "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads < (os.cpu_count() or 1) else {})
