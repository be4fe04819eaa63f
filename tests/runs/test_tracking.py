"""What Weights & Biases may do to a run: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from albor.runs.tracking import Mirror


class Broken:
    """A tracker without a network."""

    def __init__(self) -> None:
        self.calls = 0

    def log(self, metrics: Any) -> None:
        self.calls += 1
        raise RuntimeError("network is gone")

    def finish(self, manifest: Any, exit_code: int) -> None:
        self.calls += 1
        raise RuntimeError("network is gone")


def test_a_tracker_that_fails_is_told_once_and_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Broken()
    mirror = Mirror(broken)
    mirror.log({"loss": 1.0})
    mirror.log({"loss": 0.5})
    mirror.finish(None, 0)  # type: ignore[arg-type]
    assert broken.calls == 1
    assert capsys.readouterr().err.count("network is gone") == 1
