"""An exported model on the Hugging Face Hub, or what would go there."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from albor.config.schema.config import Config as Whole
from albor.config.types import Text
from albor.runs.files import write_text
from albor.runs.manifest import artifact_files
from albor.stages.base import Context, Facts, Input, Stage, Upstream

LIST = "published.json"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Keys of the publish stage alone."""

    name: Literal["publish"] = "publish"
    """The stage's name."""
    repo: Text
    """Where it goes: org/name."""
    dry_run: bool = True
    """Only say what would be pushed."""
    private: bool = True
    """Whether a repository that is made for it is seen by its owners alone; one that is there stays as it is."""
    revision: Text | None = None
    """Branch that it is pushed to, made when there is none; null is the main one."""


def inputs(cfg: Whole) -> dict[str, str | Upstream]:
    """Raises AlborError, before anything is built, when the name is none."""
    from albor.models.hub import refuse_name

    refuse_name(cfg.stage.repo)
    return {"export": "export"}


def requires(cfg: Whole, given: Mapping[str, Facts]) -> None:
    """A token that may write there. Raises AlborError."""
    from albor.models.hub import refuse_stranger

    if not cfg.stage.dry_run:
        refuse_stranger(cfg.stage.repo)


def run(cfg: Whole, context: Context) -> Facts:
    from albor.models.hub import push

    wanted, export = cfg.stage, context.inputs["export"]
    listed = contents(cfg, export)
    print(told(listed), file=sys.stderr, flush=True)
    commit = None
    if not wanted.dry_run:
        commit = push(
            export.path, wanted.repo, private=wanted.private, revision=wanted.revision, message=listed["message"]
        )
        print(f"pushed: {commit}", file=sys.stderr, flush=True)
    write_text(context.out / LIST, json.dumps({**listed, "commit": commit}, indent=1) + "\n")
    return {"page": LIST, "repo": wanted.repo, "commit": commit, "pushed_bytes": listed["bytes"]}


def contents(cfg: Whole, export: Input) -> dict[str, Any]:
    """Everything that is pushed."""
    files = artifact_files(export.path)
    return {
        "repo": cfg.stage.repo,
        "revision": cfg.stage.revision or "main",
        "private": cfg.stage.private,
        "message": f"albor export {export.id}",
        "dry_run": cfg.stage.dry_run,
        "bytes": sum(file.bytes for file in files.values()),
        "files": [{"name": name, "bytes": file.bytes, "sha256": file.sha256} for name, file in files.items()],
    }


def told(listed: Mapping[str, Any]) -> str:
    """The same for people."""
    from albor.config.units import human_bytes

    verb = "would push" if listed["dry_run"] else "pushes"
    seen = "private if it is new" if listed["private"] else "public if it is new"
    return "\n".join(
        (
            f'{verb} to {listed["repo"]} ({seen}), branch {listed["revision"]}, as "{listed["message"]}":',
            *(f"  {human_bytes(file['bytes']):>9}  {file['name']}" for file in listed["files"]),
            f"  {human_bytes(listed['bytes']):>9}  in all",
            *(["stage.dry_run=false pushes it"] if listed["dry_run"] else []),
        )
    )


STAGE = Stage(
    name="publish",
    version=1,
    makes="publication",
    config=Config,
    reads=(),
    label=lambda cfg: cfg.stage.repo.replace("/", "-"),
    inputs=inputs,
    requires=requires,
    run=run,
    action=True,
)
