"""A stand-in for wandb."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Error(Exception):
    """wandb.errors.Error."""


class FakeWandb(ModuleType):
    """What we use of wandb, and what became of it."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[Any, ...]] = []
        self.summary: dict[str, Any] = {}
        self.refuses: dict[str, Exception] = {}

    def init(self, **options: Any) -> FakeWandb:
        self.calls.append(("init", options))
        if error := self.refuses.get(options["mode"]):
            raise error
        return self

    def Settings(self, **options: Any) -> dict[str, Any]:  # noqa: N802 - their name
        return options

    def alert(self, **options: Any) -> None:
        self.calls.append(("alert", options))

    def log(self, values: dict[str, Any], *, step: int | None) -> None:
        self.calls.append(("log", values, step))

    def finish(self, *, exit_code: int) -> None:
        self.calls.append(("finish", exit_code))

    def teardown(self) -> None:
        self.calls.append(("teardown",))

    @property
    def modes(self) -> list[str]:
        return [call[1]["mode"] for call in self.calls if call[0] == "init"]
