"""What a user of the data room can do wrong."""

from __future__ import annotations

from albor.errors import AlborError


class DataError(AlborError):
    """A corpus, tokenizer or dataset that cannot be used as asked."""

    code = "E-DATA"

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002 - the house's word for it
        super().__init__(message, help)
