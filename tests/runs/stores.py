"""Stores of made-up runs, for what only looks at manifests and files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albor.runs.manifest import InputRef, Status, artifact_digest, artifact_files, load, save
from albor.runs.store import ARTIFACT

from .samples import manifest

NOW = 2_000_000_000.0
DAY = 86_400.0


def put(
    root: Path,
    stage: str,
    id_: str,
    status: Status = "done",
    *,
    label: str = "x",
    inputs: Mapping[str, Path] = {},
    days: float = 0.0,
    **changes: Any,
) -> Path:
    """A run directory with one file in its artifact when it is done, last touched ``days`` before NOW."""
    directory = root / stage / f"{label}-{id_}"
    (directory / ARTIFACT).mkdir(parents=True)
    files, digest = {}, None
    if status == "done":
        (directory / ARTIFACT / "data.bin").write_bytes(f"{stage} {id_}".encode() * 20)
        files = artifact_files(directory / ARTIFACT)
        digest = artifact_digest(files)
    refs = {name: reference(directory, maker) for name, maker in inputs.items()}
    at = NOW - days * DAY
    fields = {"group": f"{stage}/{label}-{id_}", "created": at, "finished": at, "config": {}} | changes
    made = manifest(stage=stage, id=id_, label=label, status=status, inputs=refs, files=files, digest=digest, **fields)
    save(directory, made)
    age(directory, days)
    return directory


def reference(directory: Path, maker: Path) -> InputRef:
    made = load(maker)
    path = os.path.relpath(maker / ARTIFACT, directory)
    return InputRef(stage=made.stage, id=made.id, path=path, digest=made.digest)


def age(directory: Path, days: float) -> None:
    """Sets the times of everything in a directory."""
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (NOW - days * DAY,) * 2, follow_symlinks=False)
