"""Value types of the schemas: ranges, units, and fields that are recorded but do not determine a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le, MinLen

Dimension = Literal["count", "bytes", "seconds"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a number that may be written with a unit: "1B" (count), "512MiB" (bytes), "2h" (seconds)."""

    dimension: Dimension


@dataclass(frozen=True, slots=True)
class Or:
    """Marks a value that a number may have outside its range, and what that stands for."""

    value: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Marks a field that is kept in the manifest but does not determine the result, so it is left out of the run id."""


@dataclass(frozen=True, slots=True)
class Named:
    """Marks text that becomes part of a directory's name."""


@dataclass(frozen=True, slots=True)
class OfTheHub:
    """Marks text that is one of the Hugging Face Hub's keys of licences."""


Count = Annotated[int, Unit("count"), Gt(0), Le(10**18)]
"""A positive number of things: 500, 64k, 1.5M, 1B, 2T."""
Bytes = Annotated[int, Unit("bytes"), Gt(0)]
"""A positive number of bytes: 4096, 512MiB, 141GB."""
Seconds = Annotated[float, Unit("seconds"), Gt(0)]
"""A positive time: 90, 30s, 15min, 2h, 1d."""
Positive = Annotated[int, Gt(0)]
NonNegative = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
"""A share above 0 and up to 1."""
Fraction = Annotated[float, Interval(ge=0, le=1)]
"""A share between 0 and 1, ends included."""
Text = Annotated[str, MinLen(1)]
HubLicence = Annotated[str, OfTheHub()]
"""A licence as the Hub names it."""
Label = Annotated[str, MinLen(1), Named(), Recorded()]
"""A name for people and directories; not part of a run id."""
