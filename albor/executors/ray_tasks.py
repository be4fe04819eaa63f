"""Tasks on a Ray cluster, or on one that is started on this machine for the purpose."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from albor.config.schema.run import RayExecutor
from albor.errors import AlborError
from albor.executors.tasks import Outcome, attempt, cores, died, extra, fewer, settle, threads, unwatched

T = TypeVar("T")
R = TypeVar("R")

CONNECT_SECONDS = 10.0


class RayTasks:
    """Each task asks for one core. A lost node fails the map like any dead process: Ray's retries would hide it."""

    def __init__(self, config: RayExecutor) -> None:
        """Connects to the cluster, or starts one. Raises AlborError when that fails."""
        self._ray = extra("ray")
        self._ours = connect(self._ray, config, "executor.address")
        self.workers = config.workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None] = unwatched
    ) -> list[R]:
        """See ``Executor.map``. The function travels once to each process, not once with each task."""

        def work(task: T) -> Outcome:
            return attempt(function, task)

        remote = self._ray.remote(num_cpus=1, max_retries=0)(work)
        queue = deque(enumerate(tasks))
        running: dict[Any, int] = {}
        results: dict[int, R] = {}
        try:
            while queue or running:
                while queue and len(running) < self.workers:
                    index, task = queue.popleft()
                    running[remote.remote(task)] = index
                (ended, *_), _ = self._ray.wait(list(running), num_returns=1)
                index = running.pop(ended)
                results[index] = settle(self._fetch(ended, index))
                done(index, results[index])
        except BaseException:
            for task in running:
                self._ray.cancel(task, force=True)
            raise
        return [results[index] for index in range(len(tasks))]

    def _fetch(self, reference: Any, index: int) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise died(f"Ray lost the process of task {index}: {why}", fewer(self.workers)) from error
        return outcome

    def close(self) -> None:
        """Leaves the cluster, and stops it if it was started here."""
        if self._ours:
            self._ray.shutdown()


def connect(ray: Any, config: RayExecutor, place: str) -> bool:
    """Connects this process to the cluster, or starts one; whether it was not connected before.

    Args:
        ray: the module.
        place: the key that gives the address.

    Raises:
        AlborError: there is no cluster, or none can be started.
    """
    if ray.is_initialized():
        return False
    if config.address is not None:
        check_address(config.address, place)
    new = {"num_cpus": config.workers or cores(), "include_dashboard": False} if config.address is None else {}
    with _environment(RAY_USAGE_STATS_ENABLED="0"):
        try:
            ray.init(
                # "local" never takes a cluster that the environment names: that is what an address is for.
                address=config.address or "local",
                runtime_env={"env_vars": threads(1)},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **new,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            why = str(error).splitlines()[0]
            cause = f"no Ray cluster at {config.address}: {why}" if config.address else f"Ray does not start: {why}"
            raise AlborError(cause, no_cluster(place), place=place) from None
    return True


def no_cluster(place: str) -> str:
    """What helps where no cluster answers."""
    return (
        f"correct {place} (host:port, or auto), set RAY_AUTH_MODE=token for a cluster that wants a token, or leave it "
        "null to start a cluster on this machine"
    )


def check_address(address: str, place: str) -> None:
    """Raises AlborError when nobody listens at host:port: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        cause = f"no Ray cluster at {address}: {error.strerror or error}"
        raise AlborError(cause, no_cluster(place), place=place) from None


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """Variables of the environment while something is started."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
