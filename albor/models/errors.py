"""What a reader is told when a model cannot be read."""

from __future__ import annotations


class ModelError(Exception):
    """A model directory that is missing, damaged or not a Llama decoder. ``help`` says what to do about it."""

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 (the word the reader sees)
        super().__init__(message)
        self.message = message
        self.help = help
