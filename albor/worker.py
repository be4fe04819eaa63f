"""Runs one planned run directory.

The same command on a laptop, under torchrun and in a Slurm job: everything is in the manifest, nothing is composed.
"""

from __future__ import annotations

import faulthandler
import json
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from albor.config.schema.config import Config
from albor.errors import HELD, INTERRUPTED, AlborError, Held
from albor.runs import environment, manifest, tracking
from albor.runs.files import fsync_directory, write_text
from albor.runs.lineage import input_path
from albor.runs.manifest import BASIS, Manifest
from albor.runs.metrics import NAME as METRICS
from albor.runs.metrics import MetricsLog
from albor.runs.progress import Progress
from albor.runs.store import ARTIFACT, PARTIAL, WORK, disk_error, exclusive
from albor.runs.world import World, die_with_starter, join, rank_log, start_by_hand
from albor.stages import base as stages
from albor.stages.base import view
from albor.stages.planned import refuse, structured


class RunContext:
    """What a stage sees of its run."""

    def __init__(
        self,
        directory: Path,
        inputs: Mapping[str, stages.Input],
        log: MetricsLog,
        tracker: tracking.Tracker,
        bar: Progress,
        stop_at: int | None,
    ) -> None:
        self.directory = directory
        self.out = directory / PARTIAL
        self.work = directory / WORK
        self.inputs, self.stop_at = inputs, stop_at
        self._log, self._tracker, self._bar = log, tracker, bar

    def log(self, metrics: Mapping[str, float | int | str]) -> None:
        self._log(metrics)
        self._tracker.log(metrics)

    def progress(self, done: float, total: float, text: str = "") -> None:
        self._bar(done, total, text)


def load_input(directory: Path, name: str, ref: manifest.InputRef) -> stages.Input:
    """An input, its files verified against the hashes of the run that made it."""
    path = input_path(directory, ref)
    if ref.stage in manifest.EXTERNAL:
        return stages.Input(name, ref.id, path, {}, {}, None)
    made = manifest.load(path.parent)
    if made.status != "done":
        raise AlborError(f"its input {name} is {made.status}, not done", "build that first", place=str(path.parent))
    for file, known in made.files.items():
        manifest.verify(path / file, known)
    return stages.Input(name, ref.id, path, made.facts, made.config, made.digest)


def recorded_digest(ref: manifest.InputRef, given: stages.Input) -> str | None:
    """What a run writes down of an input's bytes; of a directory that was given by hand, too. None of what is on the
    Hub, which its name and revision tell."""
    if ref.stage != "files":
        return given.digest
    return manifest.artifact_digest(manifest.artifact_files(given.path))


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 the user must change something, 73 another process has the run, 75 interrupted and
    resumable."""
    faulthandler.enable()  # a driver or library that aborts the process says nothing of where in the program it was
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = die_with_starter()
    directory = Path((arguments or sys.argv[1:])[0])
    world = join()
    try:
        return work(directory, world)
    except Held as error:
        if not started:  # else who started this process waits for the other, or tells of it
            report(error, world)
        return HELD
    except AlborError as error:
        return report(error, world)
    except OSError as error:
        return report(disk_error(error, directory), world)
    except KeyboardInterrupt:  # before there was anything to record
        return report(interrupted(), world)
    except Exception as error:
        if world.size == 1:
            raise
        cause, log = f"{type(error).__name__}: {error}", rank_log(directory, world.rank)
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        world.report(f"{cause}\n  the traceback is in {log}", cause)
        return 1


def work(directory: Path, world: World) -> int:
    """Rank 0 leads: it holds the run directory, writes it, and is the last to end."""
    run = manifest.load(directory)  # what is no run directory is not made one
    stage = stages.find(run.stage)
    config = structured(run)
    refuse_other_world(directory, stage, config, world)
    if world.rank:
        return follow(directory, run, stage, config)
    with exclusive(directory):
        return lead(directory, stage, config)


def refuse_other_world(directory: Path, stage: stages.Stage, config: Config, world: World) -> None:
    """Raises AlborError when the processes that were started are not those that the run is to have."""
    nodes, devices = (config.trainer.nodes, config.trainer.devices) if stage.distributed else (1, 1)
    fix = f"start it by: {start_by_hand(directory, nodes, devices)}"
    if world.size != nodes * devices:
        raise AlborError(f"the run has a world size of {nodes * devices}, these processes one of {world.size}", fix)
    if world.local_rank >= devices:
        raise AlborError(f"there are more processes on this machine than trainer.devices={devices}", fix)


def lead(directory: Path, stage: stages.Stage, config: Config) -> int:
    run = manifest.load(directory)
    if run.status == "done":
        return 0  # another process finished it while this one waited for its turn
    inputs = {name: load_input(directory, name, ref) for name, ref in run.inputs.items()}
    refuse(directory, run)
    clear(directory, stage, {name: i.digest or i.id for name, i in inputs.items()})
    # What an attempt that was killed had published would be taken for a part of this one's artifact.
    shutil.rmtree(directory / PARTIAL, ignore_errors=True)
    (directory / PARTIAL).mkdir()
    running = run.to(
        "running",
        inputs={name: replace(ref, digest=recorded_digest(ref, inputs[name])) for name, ref in run.inputs.items()},
        environment=environment.describe(),
        started=time.time(),
        finished=None,
        error=None,
    )
    manifest.save(directory, running)
    with recorded(directory, running) as outcome:
        tracker = tracking.start(directory, running)
        try:
            with MetricsLog(directory) as log, Progress(stage.name) as bar:
                context = RunContext(directory, inputs, log, tracker, bar, run.stop_at)
                facts = stage.run(view(config, stage.reads), context)
            outcome.append(publish(directory, running, facts))
        finally:
            tracker.finish(outcome[0] if outcome else running, exit_code=0 if outcome else 1)
    return INTERRUPTED if outcome[0].status == "interrupted" else 0


def clear(directory: Path, stage: stages.Stage, basis: Mapping[str, str]) -> None:
    """Removes what an earlier attempt left, unless it was made from the same inputs and can be gone on from."""
    path = directory / BASIS
    if stage.resumable and path.exists() and json.loads(path.read_text(encoding="utf-8")) == basis:
        return
    for name in (BASIS, METRICS, "profile.txt", "traceback.txt"):
        (directory / name).unlink(missing_ok=True)
    for name in ("checkpoints", WORK):
        shutil.rmtree(directory / name, ignore_errors=True)
    write_text(path, json.dumps(basis))


@contextmanager
def recorded(directory: Path, running: Manifest) -> Iterator[list[Manifest]]:
    """Writes how the run ended into its manifest, whatever happens."""
    outcome: list[Manifest] = []
    try:
        yield outcome
    except stages.Interrupted as stopped:
        outcome.append(running.to("interrupted", finished=time.time()))
        manifest.save(directory, outcome[0])
        if running.stop_at is None:
            print(f"interrupted, and saved {stopped}; the same command goes on from here", file=sys.stderr)
    except BaseException as error:
        wrapped = disk_error(error, directory) if isinstance(error, OSError) and error.errno else error
        cause = wrapped.cause if isinstance(wrapped, AlborError) else f"{type(error).__name__}: {error}"
        by_hand = isinstance(error, KeyboardInterrupt)
        status: manifest.Status = "interrupted" if by_hand else "failed"
        with suppress(OSError):  # a full disk keeps the old manifest, whose status says that the run did not end
            ended = running.to(status, finished=time.time(), error=None if by_hand else cause)
            manifest.save(directory, ended)
        if by_hand:
            raise interrupted() from None
        if not isinstance(wrapped, AlborError) or error.__cause__ is not None:
            (directory / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        if isinstance(wrapped, AlborError):
            raise wrapped from None
        raise


def interrupted() -> AlborError:
    error = AlborError("interrupted", "the same command goes on from here; finished stages are kept")
    error.exit_code = INTERRUPTED
    return error


def publish(directory: Path, running: Manifest, facts: stages.Facts) -> Manifest:
    """Moves the artifact into place and marks the run done: the manifest is written last."""
    partial, final = directory / PARTIAL, directory / ARTIFACT
    files = manifest.artifact_files(partial)
    if final.exists():
        shutil.rmtree(final)
    partial.replace(final)
    fsync_directory(directory)
    digest = manifest.artifact_digest(files)
    done = running.to("done", files=files, digest=digest, facts=dict(facts), finished=time.time())
    manifest.save(directory, done)
    shutil.rmtree(directory / WORK, ignore_errors=True)
    return done


def follow(directory: Path, run: Manifest, stage: stages.Stage, config: Config) -> int:
    """A rank other than the first: the same stage, no logging and no manifest of its own."""

    class Silent:
        def __call__(self, *args: object) -> None: ...

    inputs = {name: load_input(directory, name, ref) for name, ref in run.inputs.items()}
    silent: Any = Silent()
    context = RunContext(directory, inputs, silent, tracking.NoTracker(), silent, run.stop_at)
    try:
        stage.run(view(config, stage.reads), context)
    except stages.Interrupted:
        return INTERRUPTED
    return 0


def report(error: AlborError, world: World) -> int:
    from albor.cli.render import message

    text = message("error", error.code, error.cause, error.place, error.help, sys.stderr)
    if error.exit_code == INTERRUPTED:  # what the user asked for is no error
        text = f"{error.cause}; {error.help}"
    world.report(text, error.cause)
    return error.exit_code
