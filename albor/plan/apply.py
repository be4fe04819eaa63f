"""Carrying a plan out: a manifest for every stage run, then the runs one after the other, each in a process.

The chain is read off the manifests, so a sweep's job, on whatever machine, needs nothing but a run directory.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from albor.config.structure import plain
from albor.errors import INTERRUPTED, AlborError
from albor.plan.missing import missing
from albor.plan.nodes import External, Node, Plan
from albor.plan.processes import FORWARDED, End, Processes
from albor.runs import manifest
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import InputRef, Manifest
from albor.runs.store import ARTIFACT, Store, disk_error, exclusive, writable
from albor.runs.world import HEARTBEAT, hang, hang_text, start_by_hand
from albor.stages.base import check_addresses, find
from albor.stages.planned import refuse

Announce = Callable[[Path, Manifest], None]


def prepare(plan: Plan) -> None:
    """Writes the manifests of everything that is not done, sources first. Raises AlborError when it cannot."""
    writable(Path(plan.target.config.outputs))
    for node in plan.nodes:
        if node.state != "done":
            write_manifest(node, plan)


def check_machine(plan: Plan) -> None:
    """Raises AlborError when a run to be made here needs a device, source directories or a webhook's address that are
    not here."""
    for node in plan.nodes:
        trainer = node.config.trainer
        if node.state != "done":
            refuse_missing(node)
            node.stage.requires(node.config, node.input_facts)
        if node.state == "done" or not node.stage.distributed or trainer.nodes > 1:
            continue  # other machines say for themselves what they lack
        nvidia = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
        has = {"cpu": True, "cuda": nvidia, "mps": sys.platform == "darwin"}
        if not has[trainer.accelerator]:
            cause = f"{node.name} trains on {trainer.accelerator}, which this machine does not have"
            fix = "run it where there is one, or add trainer=cpu hardware=cpu"
            raise AlborError(cause, fix, place=node.origins.find("trainer.accelerator"), code="E-DEVICE")
        check_addresses(node.config)


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
    """Runs what is not done of a run's chain; returns the first exit code that is not 0, else 0.

    Raises AlborError as soon as what has been made shows that a later run is refused, before what lies between is made.
    """
    todo = [(place, run) for place, run in chain(directory, unfinished=True) if run.status != "done"]
    for number, (place, run) in enumerate(todo, 1):
        announce(place, run)
        code = execute(place, run)
        if code:
            return code
        finished(place, manifest.load(place))
        for later, planned in todo[number:]:
            if any(input_path(later, ref).parent == place for ref in planned.inputs.values()):
                refuse(later, planned)
    return 0


def execute(directory: Path, run: Manifest) -> int:
    """Runs one stage in processes of its own and waits; interrupts reach them, and they save and end.

    Raises AlborError when the stage's processes belong on machines where they cannot be started from here.
    """
    shutil.rmtree(directory / HEARTBEAT, ignore_errors=True)  # of an earlier attempt
    end = launch(directory, run).run(run.stage)
    hung = hang(directory)
    if end.code == 1 and hung is not None:
        end = after_hang(end, run, *hung)
    if end.text:
        print(end.text, file=sys.stderr, flush=True)
    now = manifest.load(directory)
    # A run that was killed could not write down why, and rank 0 knows no more than that another is gone. A process that
    # is alone and ended by itself has written down more than is known here.
    unsaid = now.status == "running" or (now.status == "failed" and bool(end.text))
    if end.code in (1, 2) and unsaid and end.cause:
        manifest.save(directory, now.to("failed", finished=now.finished or time.time(), error=end.cause))
    if end.code == INTERRUPTED and now.status == "running":  # by a signal that came before it could be answered
        manifest.save(directory, now.to("interrupted", finished=time.time()))
    return end.code


def after_hang(end: End, run: Manifest, cause: str | None, stack: Path) -> End:
    """The end of processes of which one hung; in the middle of a call it could not say so itself."""
    if cause is not None:
        return replace(end, cause=cause)
    cause = f"{run.stage} made no progress, in a call that kept Python's global lock"
    return End(1, hang_text(cause, stack), cause)


def launch(directory: Path, run: Manifest) -> Processes:
    """A stage's processes: one, one per device of this machine, or Slurm's srun, which starts them on its nodes."""
    trainer = run.config["trainer"]
    nodes, devices = int(trainer["nodes"]), int(trainer["devices"])
    stage = [sys.executable, "-m", "albor.exec", str(directory)]
    if not find(run.stage).distributed:
        return Processes(stage, environment(1), count=1, logs=directory)
    if nodes == 1:
        return Processes(stage, environment(devices), count=devices, logs=directory)
    if not allocated(nodes):
        cause = f"{run.stage}/{directory.name} runs on {nodes} machines, which cannot be started from here"
        by_hand = f"start this on each of them, HOST being the first: {start_by_hand(directory, nodes, devices)}"
        raise AlborError(cause, f"{by_hand}; or give the command in a Slurm job of {nodes} nodes")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks-per-node={devices}", "--kill-on-bad-exit=1", "--disable-status"]
    # SIGTERM would have srun kill its tasks; other signals are handed on.
    to_tasks = dict.fromkeys(FORWARDED, signal.SIGUSR1)
    return Processes([*srun, *stage], environment(devices), count=1, logs=directory, forwarded=to_tasks, lifeline=False)


def allocated(nodes: int) -> bool:
    """Whether this process is in a Slurm job that has so many nodes."""
    return int(os.environ.get("SLURM_JOB_NUM_NODES", "0")) >= nodes and shutil.which("srun") is not None


def environment(devices: int) -> dict[str, str]:
    """A stage's environment: the processors are shared among its ranks, unless the user says otherwise."""
    cpus = os.cpu_count() or 1
    threads = {"OMP_NUM_THREADS": str(max(1, cpus // devices))} if devices > 1 else {}
    return {"PYTHONUNBUFFERED": "1"} | threads | os.environ
