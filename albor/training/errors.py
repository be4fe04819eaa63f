"""Why training stops."""

from __future__ import annotations

from albor.errors import AlborError


class TrainingError(AlborError):
    """Training that cannot go on."""

    code = "E-TRAIN"
    exit_code = 1

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 - the house's word for it
        super().__init__(message, help)
