"""Ways to make one model of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from albor.config.types import Fraction, PositiveFraction


@dataclass(frozen=True, kw_only=True)
class Slerp:
    """Spherical interpolation of two models, tensor by tensor (Shoemake, 1985)."""

    needs_base: ClassVar[bool] = False
    kind: Literal["slerp"] = "slerp"
    """The method's kind."""
    t: Fraction = 0.6
    """Share of the way from the first model to the second."""


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """What every method for any number of models has."""

    weights: tuple[float, ...] | None = None
    """Weight of each model, in their order; null gives each 1."""


@dataclass(frozen=True, kw_only=True)
class Linear(Weighted):
    """The weighted mean of models ("model soups", Wortsman et al., 2022)."""

    needs_base: ClassVar[bool] = False
    kind: Literal["linear"] = "linear"
    """The method's kind."""
    normalise: bool = True
    """Divide by the sum of the weights."""


@dataclass(frozen=True, kw_only=True)
class TaskVectors(Weighted):
    """What every method has that adds to a base the differences of models from it."""

    needs_base: ClassVar[bool] = True
    scale: float = 1.0
    """What the merged difference is multiplied by before it is added to the base (λ)."""
    normalise: bool = False
    """Divide the merged difference, number by number, by the sum of the weights that went into it."""


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(TaskVectors):
    """The weighted sum of the differences (Ilharco et al., 2023)."""

    kind: Literal["task_arithmetic"] = "task_arithmetic"
    """The method's kind."""


@dataclass(frozen=True, kw_only=True)
class Ties(TaskVectors):
    """Each difference is trimmed to its largest numbers; of those, the ones of the prevailing sign are added (Yadav et
    al., 2023)."""

    kind: Literal["ties"] = "ties"
    """The method's kind."""
    density: PositiveFraction = 0.2
    """Share of each tensor's difference that is kept, the largest by magnitude."""
    normalise: bool = True
    """Divide the merged difference, number by number, by the sum of the weights that went into it."""


@dataclass(frozen=True, kw_only=True)
class Dare(TaskVectors):
    """Each difference is thinned out at random, and the rest scaled up to the same expectation (Yu et al., 2023)."""

    kind: Literal["dare"] = "dare"
    """The method's kind."""
    density: PositiveFraction = 0.5
    """Probability of each number of a difference to be kept."""
    rescale: bool = True
    """Divide what is kept by the density."""
    variant: Literal["linear", "ties"] = "linear"
    """How the thinned differences are added: all of them, or those of the prevailing sign only."""


Merge = Slerp | Linear | TaskArithmetic | Ties | Dare
