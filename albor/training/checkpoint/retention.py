"""Which checkpoints are kept: the newest, and those of the lowest validation loss."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from albor.runs.checkpoints import REMOVING, REPLACED, WRITING, numbered
from albor.runs.files import fsync_directory, write_text
from albor.training.checkpoint.format import Damaged, check_sizes

SCORES = "scores.json"
logger = logging.getLogger(__name__)


def read_scores(directory: Path) -> dict[int, float]:
    """Step to validation loss; empty when there are none, or none that can be read."""
    try:
        content = json.loads((directory / SCORES).read_text(encoding="utf-8"))
        return {int(step): float(loss) for step, loss in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        logger.warning("%s cannot be read, so no checkpoint counts as a best one: %s", directory / SCORES, error)
        return {}


def record_score(directory: Path, step: int, val_loss: float) -> None:
    """Adds a step's validation loss, and forgets those of steps that are gone."""
    there = {known for known, _ in numbered(directory)}
    scores = {**read_scores(directory), step: val_loss}
    write_text(directory / SCORES, json.dumps({str(s): scores[s] for s in sorted(scores) if s in there}))


def prune(directory: Path, *, keep_last: int, keep_best: int, current: int | None = None) -> None:
    """Removes what ``surplus`` names."""
    for path in surplus(directory, keep_last=keep_last, keep_best=keep_best, current=current):
        remove(path)


def surplus(directory: Path, *, keep_last: int, keep_best: int, current: int | None = None) -> list[Path]:
    """All but the newest ``keep_last`` whole checkpoints, the ``keep_best`` of lowest validation loss, and those that
    cannot be judged.

    One with a file missing or of another size counts for nothing, and goes only when it is older than all that are
    kept. ``current`` is the step written last or resumed from: a newer one was passed over when this run was resumed,
    so it does not count either.
    """
    past = [(step, path) for step, path in numbered(directory) if current is None or step <= current]
    whole = [(step, path) for step, path in past if is_whole(path)]
    if len(whole) < keep_last:
        return []
    scores = read_scores(directory)
    scored = sorted((scores[step], -step, path) for step, path in whole if step in scores)
    best = [path for *_, path in scored[:keep_best]]
    oldest = past.index(whole[keep_last - 1]) if keep_last else -1
    return [path for _, path in past[oldest + 1 :] if path not in best]


def is_whole(path: Path) -> bool:
    """Whether a checkpoint has all its files in their sizes."""
    try:
        check_sizes(path)
    except Damaged:
        return False
    return True


def remove(path: Path) -> None:
    """Removes a checkpoint so that a process killed on the way leaves no half of it."""
    doomed = path.with_name(f"{REMOVING}{path.name}")
    path.rename(doomed)
    fsync_directory(path.parent)
    shutil.rmtree(doomed)


def publish(temporary: Path, target: Path) -> None:
    """Gives a finished checkpoint its name; one of the same step stays until then."""
    replaced = target.with_name(f"{target.name}{REPLACED}")
    if target.exists():
        target.rename(replaced)
    temporary.rename(target)
    fsync_directory(target.parent)
    if replaced.exists():
        remove(replaced)


def remove_leftovers(directory: Path) -> None:
    """Clears away what a killed process was writing or removing."""
    for pattern in (f"{WRITING}*", f"{REMOVING}*"):
        for path in directory.glob(pattern):
            shutil.rmtree(path)
    for path in directory.glob(f".{SCORES}.*.tmp"):
        path.unlink()
    for path in directory.glob(f"step-*{REPLACED}"):
        target = path.with_name(path.name.removesuffix(REPLACED))
        if target.exists():
            remove(path)
        else:
            path.rename(target)
