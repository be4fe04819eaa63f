"""The server as a process: models loaded, an address listened at, and an end in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from albor.config.schema.serve import LOOPBACK, Serve
from albor.inference.loaded import LanguageModel, load
from albor.inference.prompts import FimOrder
from albor.models.companions import ROLES
from albor.runs.ports import listen
from albor.serve.app import Api
from albor.serve.guard import Settings
from albor.serve.served import Served
from albor.serve.worker import Worker


class Server(uvicorn.Server):
    """Stops when it is told to, answers what is under way, and ends as what has done its work."""

    def __init__(self, config: uvicorn.Config, api: Api) -> None:
        super().__init__(config)
        self._api = api

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True  # asked twice: what is under way is cut off
        self._api.draining = self.should_exit = True


def serve(wanted: Serve, models: Mapping[str, tuple[Path, str]]) -> dict[str, Any]:
    """Serves models (directory and source, by name) until a signal ends it. Raises AlborError."""
    opened = listen(wanted.host, wanted.port)
    try:
        served = open_models(wanted, models)
        host, port = opened.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        api = Api(in_order(served, wanted.default), settings(wanted))
        for one in served.values():
            one.worker.start()
        gc.collect()
        gc.freeze()  # what is there now stays; going through it again would stop everything for 0.1 s
        config = uvicorn.Config(
            api.app(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=round(wanted.drain),
            server_header=False,
        )
        told = f"serving {', '.join(served)} at {url}/v1 and, to look at, {url}/ (stop with Ctrl-C)"
        print(told, file=sys.stderr, flush=True)
        Server(config, api).run(sockets=[opened])
    finally:
        opened.close()
    for one in served.values():
        one.worker.stop(timeout=5.0)
    return {"url": url, "models": [*served], "tokens": sum(one.worker.tokens for one in served.values())}


def settings(wanted: Serve) -> Settings:
    return Settings(
        key=os.environ[wanted.key_env] if wanted.key_env else None,
        hosts=tuple(f"[{host}]" if ":" in host else host for host in LOOPBACK) if wanted.host in LOOPBACK else None,
        max_body=wanted.max_body,
        timeout=wanted.timeout,
    )


def open_models(wanted: Serve, models: Mapping[str, tuple[Path, str]]) -> dict[str, Served]:
    served = {}
    for name, (path, source) in models.items():
        model = load(path, device=wanted.device, threads=wanted.threads, rows=wanted.slots)
        worker = Worker(model, rows=wanted.slots, most_waiting=wanted.waiting)
        served[name] = Served(name, worker, source, wanted.fim or order_of(model))
    return served


def order_of(model: LanguageModel) -> FimOrder:
    """What albor trains has learned both orders."""
    return "spm" if (model.directory / ROLES).is_file() else "psm"


def in_order(served: Mapping[str, Served], default: str | None) -> dict[str, Served]:
    """The default one first."""
    first = default or list(served)[-1]
    return {first: served[first], **served}
