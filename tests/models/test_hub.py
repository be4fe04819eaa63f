"""Checkpoints from the Hub: what is fetched, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from albor.inference.device import best_device
from albor.models.errors import ModelError
from albor.models.hub import fetch


def test_no_code_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch("org/name") == tmp_path
    assert asked == {"org/name": ["*.safetensors", "*.json"]}


@pytest.mark.parametrize("kind", [OSError, HFValidationError, LocalEntryNotFoundError])
def test_what_cannot_be_fetched_is_said_in_one_line(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **more: object) -> str:
        raise kind("\nno such repository\nand a page of advice")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match=r"^org/name cannot be fetched from the Hugging Face Hub: no such repository$"):
        fetch("org/name")


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_best_device_is_taken(cuda: bool, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert best_device() == best
