"""How models are served: keys of the stage ``serve``, which the server reads, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from albor.config.types import Bytes, NonNegative, Positive, Seconds, Text

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Keys of the serve stage alone."""

    name: Literal["serve"] = "serve"
    """The stage's name."""
    of: Text | None = None
    """The stage whose model is served; null serves all rungs of the ladder. inputs.model=RUN serves a model that there
    is."""
    models: dict[str, Text] = field(default_factory=dict)
    """Models to serve instead, by the names that requests call them: runs, directories, or hf:org/name."""
    default: Text | None = None
    """The model that answers where a request names none; null is the last one."""
    host: Text = "127.0.0.1"
    """Address that is listened at. One that other machines reach needs a key."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8000
    """Port that is listened at; 0 takes one that is free."""
    key_env: Text | None = None
    """Environment variable with the key that clients must send; null asks for none."""
    slots: Positive = 8
    """Texts that a model writes at a time; others wait."""
    waiting: NonNegative = 64
    """Texts that may wait for each model; more are answered with 429."""
    timeout: Seconds = 300.0
    """Longest time that an answer may take."""
    drain: Seconds = 30.0
    """Longest time that answers under way have once the server is to stop."""
    max_body: Bytes = 1 << 20
    """Largest request."""
    fim: Literal["psm", "spm"] | None = None
    """Order in which holes are filled. spm lets what was read serve again when somebody goes on typing, and is null's
    choice where a model has learned it, as albor's do; otherwise null is psm."""
    threads: Positive | None = None
    """CPU threads of each model; null takes all that there are. Best is the number of physical cores."""
    device: Text | None = None
    """Where models are computed, "cpu" or "cuda:1" say; null is the best there is. GGUF files are computed on CPUs."""
