"""Telling people: a line in metrics.jsonl, a warning on the terminal, a POST to an address."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import requests

from albor.config.schema.alerts import Alert
from albor.errors import AlborError
from albor.training.alerts import Fired

TIMEOUT = 10.0
"""Seconds that a server has to answer."""
PATIENCE = 5.0
"""Seconds that the end of a run waits for what is still on its way."""


class Notifier:
    """Receives the alerts that fire, on rank 0. The end of the block waits a moment for what is being sent."""

    def __init__(self, alerts: Mapping[str, Alert | None], *, run: str, log: Callable[[dict[str, Any]], None]) -> None:
        """``run`` is what the run is called in a POST, ``log`` writes a line of metrics.

        Raises AlborError when the environment lacks an address: better now than on the day it is needed.
        """
        self.run, self.log = run, log
        self._addresses = {name: address(name, a.url_env) for name, a in alerts.items() if a and a.url_env}
        self._sending: list[threading.Thread] = []

    def __call__(self, fired: Fired) -> None:
        self.tell(fired.step, fired.name, fired.message, quiet=fired.alert.action == "stop")
        if fired.name in self._addresses:
            body = {"run": self.run, "step": fired.step, "alert": fired.name, "message": fired.message,
                    "value": fired.value}  # fmt: skip
            thread = threading.Thread(target=post, args=(self._addresses[fired.name], body, fired.name), daemon=True)
            self._sending = [t for t in self._sending if t.is_alive()] + [thread]
            thread.start()

    def tell(self, step: int, name: str, message: str, *, quiet: bool = False) -> None:
        """Writes it down, and says it unless ``quiet`` (what ends a run is said by its error)."""
        self.log({"step": step, "alert": name, "message": message})
        if not quiet:
            warn(name, f"step {step}: {message}")

    def __enter__(self) -> Notifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        until = time.monotonic() + PATIENCE
        for thread in self._sending:
            thread.join(max(0.0, until - time.monotonic()))


def address(name: str, variable: str) -> str:
    """The address that an environment variable holds. Raises AlborError, which never shows it."""
    url = os.environ.get(variable)
    place, fix = f"alerts.{name}.url_env", f"export {variable}=https://…, or leave the alert out"
    if not url:
        raise AlborError(f"the environment variable {variable} is not set", fix, place=place, code="E-VALUE")
    if not url.startswith(("https://", "http://")):
        raise AlborError(f"the environment variable {variable} holds no web address", fix, place=place, code="E-VALUE")
    return url


def post(url: str, body: Mapping[str, Any], name: str) -> None:
    """Sends JSON; a failure is said once and changes nothing. The address may be a secret: only its kind is shown."""
    try:
        answer = requests.post(url, json=body, timeout=TIMEOUT)
    except requests.RequestException as error:
        warn(name, f"its webhook could not be reached ({type(error).__name__})")
    else:
        if not answer.ok:
            warn(name, f"its webhook answered {answer.status_code}")


def warn(name: str, message: str) -> None:
    print(f"warning[A-{name}] {message}", file=sys.stderr, flush=True)
