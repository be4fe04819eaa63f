"""What a user's mistake looks like in code: a cause in one sentence and, where there is one, the way out."""

from __future__ import annotations

import copyreg
from typing import Any

INTERRUPTED = 75
"""Exit code of what was stopped and goes on when the same command is given again (EX_TEMPFAIL)."""
GOES_ON = "interrupted; the same command goes on from here"
SAVED = "the same command goes on from what was saved"


HELD = 73
"""Exit code of a stage's process that found another one at work on its run; not albor's own (EX_CANTCREAT)."""


class AlborError(Exception):
    """Something the user can change. Shown as one message without a traceback.

    ``help`` says what to do; ``exit_code`` is 2 when the user must change something and 1 when the run failed for
    a reason outside the config (a full disk, a device that is gone).
    """

    code = "E-RUN"
    exit_code = 2

    def __init__(
        self,
        cause: str,
        help: str | None = None,  # noqa: A002 - the word the reader sees
        *,
        place: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.help = help
        self.place = place
        self.code = code or self.code

    def __reduce__(self) -> tuple[Any, ...]:
        """Its attributes are all there is to it, so it is copied without asking a subclass's own constructor."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class Held(AlborError):
    """Another process works on the run, or on what else is held."""
