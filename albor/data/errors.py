"""What a user of the data room can do wrong, said in one sentence with the way out."""

from __future__ import annotations


class DataError(Exception):
    """One sentence of cause; ``help`` says what to change."""

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 - the house's word for it
        super().__init__(message)
        self.help = help
