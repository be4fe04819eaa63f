"""Weights & Biases: the only place that knows it. It mirrors; metrics.jsonl is what counts."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from albor.runs.manifest import Manifest
from albor.runs.metrics import NAME as METRICS


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
        self._wandb = wandb
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
        self._run.finish(exit_code=exit_code)


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
