"""What can be wrong with a model that is read."""

from __future__ import annotations

from albor.errors import AlborError


class ModelError(AlborError):
    """A model directory that is missing, damaged or not a Llama decoder."""

    code = "E-MODEL"

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 - the house's word for it
        super().__init__(message, help)
