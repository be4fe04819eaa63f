"""Carrying a plan out, first part: what this machine lacks for it, and a manifest for every stage run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from albor.config.structure import plain
from albor.errors import AlborError
from albor.plan.missing import missing
from albor.plan.nodes import External, Node, Plan
from albor.runs import manifest
from albor.runs.manifest import InputRef, Manifest
from albor.runs.store import ARTIFACT, Store, disk_error, exclusive, held, writable
from albor.stages.base import check_addresses


def prepare(plan: Plan, *, group: str = "", shared: bool = False) -> None:
    """Writes the manifests of everything that is not done, sources first. Raises AlborError when it cannot.

    Args:
        group: what the runs belong to, a sweep; the target where it is empty.
        shared: a run that another process works on already is left to it.
    """
    writable(Path(plan.target.config.outputs))
    prepare_nodes(plan, plan.nodes, group=group, shared=shared)


def prepare_nodes(plan: Plan, nodes: Sequence[Node], *, group: str, shared: bool) -> None:
    """``prepare`` for some of a plan's nodes."""
    for node in nodes:
        if node.state != "done" and not (shared and held(node.directory)):
            write_manifest(node, plan, group)


def check_machine(plan: Plan, *, elsewhere: bool = False) -> None:
    """Raises AlborError when a run to be made here needs a device, source directories or a webhook's address that are
    not here; of runs that are made ``elsewhere`` only what lies on a shared file system is asked for."""
    for node in plan.nodes:
        trainer = node.config.trainer
        if node.state != "done":
            refuse_missing(node)
        if node.state != "done" and not elsewhere:
            node.stage.requires(node.config, node.input_facts)
        if elsewhere or node.state == "done" or not node.stage.distributed or trainer.nodes > 1:
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


def write_manifest(node: Node, plan: Plan, group: str) -> None:
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
        group=group or plan.target.name,
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
