"""Checkpoints from the Hugging Face Hub: safetensors and JSON only, no code."""

from __future__ import annotations

from pathlib import Path

from albor.models.errors import ModelError


def fetch(name: str) -> Path:
    """The local copy of a Hub repository ``org/name`` or ``org/name@revision``, downloaded when it is not cached.

    Raises ModelError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        repository, _, revision = name.partition("@")
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=["*.safetensors", "*.json"])
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        cause = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{name} cannot be fetched from the Hugging Face Hub: {cause}",
            help="check the name and the connection, log in for a gated model, or give a local directory",
        ) from None
