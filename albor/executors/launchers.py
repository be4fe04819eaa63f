"""A sweep's launcher as that which runs its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from albor.config.schema.sweep import JoblibLauncher, RayLauncher, SlurmLauncher
from albor.executors.jobs import Jobs, LocalJobs, Shape
from albor.executors.tasks import cores


@contextmanager
def open_jobs(config: JoblibLauncher | SlurmLauncher | RayLauncher, *, directory: Path, shape: Shape) -> Iterator[Jobs]:
    """The launcher of ``config``; leaving the block ends what still runs.

    Args:
        directory: where scripts and logs lie; for Slurm and Ray on a shared file system.
        shape: what a job needs.

    Raises:
        AlborError: the launcher cannot be had here.
    """
    with closing(_launcher(config, directory, shape)) as jobs:
        yield jobs


def _launcher(config: JoblibLauncher | SlurmLauncher | RayLauncher, directory: Path, shape: Shape) -> Jobs:
    match config:
        case JoblibLauncher():
            return LocalJobs(config.n_jobs if config.n_jobs > 0 else cores())
        case SlurmLauncher():
            from albor.executors.slurm_jobs import SlurmArray

            return SlurmArray(config, directory, shape)
        case RayLauncher():
            from albor.executors.ray_jobs import RayJobs

            return RayJobs(config)
