"""A stand-in for wandb."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Error(Exception):
    """wandb.errors.Error."""


class FakeArtifact:
    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.files: dict[str, str] = {}

    def add_reference(self, uri: str, *, name: str, checksum: bool) -> None:
        assert not checksum, "nothing is read again"
        self.files[name] = uri


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

    def Artifact(self, name: str, kind: str, *, metadata: dict[str, Any]) -> FakeArtifact:  # noqa: N802 - their name
        return FakeArtifact(name, kind)

    def log_artifact(self, artifact: FakeArtifact) -> None:
        self.calls.append(("made", artifact.name, artifact.kind, artifact.files))

    def _log_artifact(self, artifact: FakeArtifact, *, use_after_commit: bool) -> None:
        assert use_after_commit
        self.calls.append(("used", artifact.name, artifact.kind, artifact.files))

    def finish(self, *, exit_code: int) -> None:
        self.calls.append(("finish", exit_code))

    def teardown(self) -> None:
        self.calls.append(("teardown",))

    @property
    def modes(self) -> list[str]:
        return [call[1]["mode"] for call in self.calls if call[0] == "init"]
