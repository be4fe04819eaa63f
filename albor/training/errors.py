"""What a reader is told when training cannot go on."""

from __future__ import annotations


class TrainingError(Exception):
    """Training that must stop. ``help`` says what to do about it."""

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 (the word the reader sees)
        super().__init__(message)
        self.message = message
        self.help = help
