"""``albor verify CKPT_OR_RUN``: is it whole, was it trained, did it converge. Exit code 1 when a check fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint, plural
from albor.config.location import short
from albor.errors import AlborError
from albor.runs.checkpoints import DIRECTORY, MODEL, RUN, is_checkpoint, run_around, run_of, steps
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run, Store, lives, outputs_of

if TYPE_CHECKING:
    from albor.training.checkpoint.verify import Check

Part = tuple[Path, Iterable["Check"]]
"""What is checked, and the checks."""


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor verify` takes one checkpoint or run", "albor verify RUN; `albor runs` lists them")
    given = Path(arguments.words[0])
    if is_checkpoint(given):
        parts = of_checkpoint(given, run_around(given))
    else:
        parts = of_run(Store(outputs_of(arguments.overrides)).find(arguments.words[0]))
    total = failed = 0
    for place, checks in parts:
        print(paint(short(place), "bold"))
        for check in checks:
            verdict = paint("OK  ", "green") if check.ok else paint("FAIL", "red")
            print(f"  {verdict}  {check.name:<8}  {check.text}", flush=True)
            total, failed = total + 1, failed + (not check.ok)
    print(f"{failed} of {plural(total, 'check')} failed" if failed else f"{plural(total, 'check')}, all hold")
    return 1 if failed else 0


def of_checkpoint(path: Path, around: Run | None) -> Iterator[Part]:
    from albor.training.checkpoint.verify import verify_checkpoint

    config: Mapping[str, Any] = run_of(path).config if (path / RUN).exists() else {}
    yield path, verify_checkpoint(path, config)
    if around is not None:
        yield from of_metrics(around)


def of_run(found: Run) -> Iterator[Part]:
    """The newest checkpoint, the artifact when the run is done, and the losses."""
    from albor.training.checkpoint.verify import verify_checkpoint

    newest, done = steps(found.directory / DIRECTORY)[:1], found.manifest.status == "done"
    if not newest and not done:
        raise no_checkpoint(found)
    for path in newest:
        yield path, verify_checkpoint(path, found.manifest.config)
    if done:
        yield found.artifact, of_artifact(found)
    yield from of_metrics(found)


def no_checkpoint(found: Run) -> AlborError:
    """Of a run of a stage that trains."""
    running = found.manifest.status == "running" and lives(found.directory, found.manifest) is not False
    cause = f"this run {'is running' if running else 'has ended'}, and has no checkpoint{' yet' if running else ''}"
    fix = f"wait for its first one: `albor monitor {found.directory.name}`" if running else "give its command again"
    return AlborError(cause, fix, place=str(found.directory))


def of_artifact(found: Run) -> Iterator[Check]:
    from albor.training.checkpoint.verify import verify_files, verify_model

    whole = verify_files(found.artifact, found.manifest.files)
    yield whole
    if whole.ok and MODEL in found.manifest.files:
        yield from verify_model(found.artifact, found.manifest.config, {})


def of_metrics(found: Run) -> Iterator[Part]:
    from albor.training.checkpoint.verify import verify_convergence

    path = found.directory / METRICS
    if path.exists():
        checks = list(verify_convergence(path, found.manifest.config))
        if checks:
            yield path, checks
