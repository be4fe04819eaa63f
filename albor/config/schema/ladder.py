"""A ladder: one model after the other, each made from those before it and measured like them."""

from __future__ import annotations

from dataclasses import dataclass, field

from albor.config.types import Label, Text


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Rungs, and what their command lines say."""

    name: Label = "rungs"
    """What it is called."""
    rungs: dict[str, Text] = field(default_factory=dict)
    """The rungs from first to last: what each is called to the stage that makes its model."""
    overrides: tuple[Text, ...] = ()
    """Said of every rung, as if it were typed: choices, and up.STAGE.KEY=… for one stage."""
