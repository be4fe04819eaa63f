"""Weights & Biases: the only place that knows it. It mirrors; metrics.jsonl is what counts."""

from __future__ import annotations

import netrc
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, InputRef, Manifest, load
from albor.runs.manifest import NAME as MANIFEST
from albor.runs.metrics import NAME as METRICS

NAME_LENGTH = 128
"""Characters of an artifact's name."""


class Tracker(Protocol):
    def log(self, metrics: Mapping[str, float | int | str]) -> None: ...
    def finish(self, manifest: Manifest, exit_code: int) -> None: ...


class NoTracker:
    """tracking.mode=disabled."""

    def log(self, metrics: Mapping[str, float | int | str]) -> None:
        pass

    def finish(self, manifest: Manifest, exit_code: int) -> None:
        pass


def logged_in() -> bool:
    """Whether a W&B key is at hand without asking anybody."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandbTracker:
    """One W&B run per stage run: group = target, job type = stage, resumable by the run's id."""

    def __init__(self, directory: Path, manifest: Manifest, tracking: Mapping[str, Any], mode: str) -> None:
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        self._wandb, self._directory = wandb, directory
        self._run = wandb.init(
            mode=mode,  # type: ignore[arg-type]
            project=tracking["project"],
            entity=tracking["entity"],
            tags=list(tracking["tags"]),
            id=manifest.id,
            name=f"{manifest.stage}/{manifest.label}-{manifest.id}",
            group=manifest.group or manifest.id,
            job_type=manifest.stage,
            resume="allow" if mode == "online" else None,
            dir=str(directory),
            config={
                **manifest.config,
                "run": {
                    "id": manifest.id,
                    "git_commit": manifest.environment.get("git_commit"),
                    "inputs": {k: {"id": r.id, "digest": r.digest} for k, r in manifest.inputs.items()},
                },
            },
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, x_disable_stats=True, init_timeout=30
            ),
        )

    def log(self, metrics: Mapping[str, float | int | str]) -> None:
        if "alert" in metrics:
            self._run.alert(title=str(metrics["alert"]), text=str(metrics["message"]))
            return
        values = {k: v for k, v in metrics.items() if k not in ("step", "time")}
        self._run.log(values, step=int(metrics["step"]) if "step" in metrics else None)

    def finish(self, manifest: Manifest, exit_code: int) -> None:
        flat = {k: v for k, v in manifest.facts.items() if isinstance(v, (int, float, str))}
        self._run.summary.update({**flat, "artifact_sha256": manifest.digest, "status": manifest.status})
        if manifest.status == "done":
            try:
                self._lineage(manifest)
            except Exception as error:  # the numbers are there, and are kept
                print(f"W&B does not show what this run was made from ({error})", file=sys.stderr)
        self._run.finish(exit_code=exit_code)

    def _lineage(self, manifest: Manifest) -> None:
        """The run's inputs and its artifact, so that the graph there is ours. Nothing but names and hashes is sent.

        An input is described exactly as the run that made it has described it. There it is the same artifact then,
        whether that run was sent before, is sent later, or never. ``use_artifact`` would wait for the network, and
        refuses to work offline; it calls what is called here.
        """
        for ref in manifest.inputs.values():
            self._run._log_artifact(self._artifact(*input_of(self._directory, ref)), use_after_commit=True)
        if manifest.files:
            self._run.log_artifact(self._artifact(*output_of(manifest)))

    def _artifact(self, name: str, kind: str, files: Mapping[str, str], metadata: dict[str, Any]) -> Any:
        made = self._wandb.Artifact(name, kind, metadata=metadata)
        for file, address in files.items():
            made.add_reference(address, name=file, checksum=False)
        return made


Described = tuple[str, str, Mapping[str, str], dict[str, Any]]
"""An artifact as W&B knows it: name, type, file name to the address of its content, metadata."""


def output_of(manifest: Manifest) -> Described:
    """What a run made. Files are told by their hashes and not by their place, so it is the same from everywhere."""
    fields = ("stage", "id", "label", "version", "digest")
    metadata = {key: getattr(manifest, key) for key in fields} | {
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "git_commit": manifest.environment.get("git_commit"),
    }
    files = {file: f"sha256:{ref.sha256}" for file, ref in manifest.files.items()}
    return name_of(manifest.stage, manifest.label, manifest.id), manifest.stage, files, metadata


def input_of(directory: Path, ref: InputRef) -> Described:
    """What a run in ``directory`` was made from: as its maker described it, or what is known where that is gone."""
    made = input_path(directory, ref).parent
    if ref.stage not in EXTERNAL and (made / MANIFEST).exists():
        return output_of(load(made))
    address = f"sha256:{ref.digest}" if ref.digest else ref.id
    name = name_of(ref.stage, ref.path if ref.stage == "hub" else ref.id.partition(":")[2] or ref.id)
    return name, ref.stage, {"artifact": address}, {"stage": ref.stage, "id": ref.id, "digest": ref.digest}


def name_of(*parts: str) -> str:
    """A name as W&B allows it: letters, digits and ._- only, at most 128 of them, the last part whole."""
    clean = [re.sub(r"[^A-Za-z0-9_.-]", "_", part) for part in parts]
    room = NAME_LENGTH - len(clean[-1]) - 1
    return f"{'-'.join(clean[:-1])[: max(room, 0)]}-{clean[-1]}"[-NAME_LENGTH:]


class Mirror:
    """Keeps a tracker's failures out of the run: the first is told, after that nothing is mirrored any more."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker: Tracker | None = tracker

    def log(self, metrics: Mapping[str, float | int | str]) -> None:
        self._try(lambda tracker: tracker.log(metrics))

    def finish(self, manifest: Manifest, exit_code: int) -> None:
        self._try(lambda tracker: tracker.finish(manifest, exit_code))

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:  # whatever W&B raises, the run goes on
            self._tracker = None
            print(f"W&B failed ({error}); {METRICS} goes on without it", file=sys.stderr)


def start(directory: Path, manifest: Manifest) -> Tracker:
    """The tracker that the run's config asks for; never prompts, and offline needs no network."""
    tracking = manifest.config["tracking"]
    mode = tracking["mode"]
    if mode == "disabled":
        return NoTracker()
    if mode == "online" or (mode == "auto" and logged_in()):
        import wandb
        from wandb.errors import Error

        try:
            return Mirror(WandbTracker(directory, manifest, tracking, "online"))
        except Error as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            print(f"W&B cannot be reached ({first}); this run is kept offline, `wandb sync` sends it", file=sys.stderr)
            wandb.teardown()  # its service still holds the run's id
    return Mirror(WandbTracker(directory, manifest, tracking, "offline"))
