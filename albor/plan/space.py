"""Where to search instead of sweeping, read off Hydra's override grammar.

``optim.lr=tag(log, interval(1e-4, 1e-2))``, ``model.num_hidden_layers=range(2, 9, 2)`` and ``seed=1,2,3`` mean what
they mean to Hydra's own Optuna plugin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from albor.config.problems import ConfigRefused, Problem

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MAX_CORNERS = 64
"""Corners of the space that are planned before anything starts."""
Value = str | int | float


@dataclass(frozen=True)
class Dimension:
    """One key that is searched over: texts to choose from, or numbers between two ends."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """What the space's corners take."""
        return self.choices or (self.low, self.high)

    def distribution(self) -> BaseDistribution:
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return distributions.IntDistribution(low, high, log=self.log, step=step)
        return distributions.FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    """What is fixed and what is searched over."""

    fixed: tuple[str, ...]
    dimensions: tuple[Dimension, ...]

    def texts(self, params: Mapping[str, Value]) -> tuple[str, ...]:
        """The overrides of one trial."""
        return (*self.fixed, *self.point(params))

    def point(self, params: Mapping[str, Value]) -> tuple[str, ...]:
        """Of these, those that tell it from the others."""
        return tuple(f"{key}={value}" for key, value in params.items())

    def corners(self) -> list[tuple[str, ...]]:
        """The overrides at the space's corners, and at one point between them. Where there are too many corners, one
        dimension after the other goes to its ends while the others stay at their first."""
        keys = [dimension.key for dimension in self.dimensions]
        ends = [dimension.ends for dimension in self.dimensions]
        if math.prod(map(len, ends)) <= MAX_CORNERS:
            corners = itertools.product(*ends)
        else:
            first = [values[0] for values in ends]
            corners = (  # type: ignore[assignment]
                (*first[:i], value, *first[i + 1 :]) for i, values in enumerate(ends) for value in values
            )
        found = (self.texts(dict(zip(keys, corner, strict=True))) for corner in (*corners, self._inside()))
        return list(dict.fromkeys(found))

    def _inside(self) -> list[Value]:
        """A point that is no corner: numbers that must be whole are so at the ends of most intervals."""
        return [
            d.ends[0] if d.choices or d.whole or d.step else d.low + (d.high - d.low) / math.e for d in self.dimensions
        ]


def read_space(overrides: Sequence[Override]) -> Space:
    """Sorts a search's overrides. Raises ConfigRefused when there is nothing to search over, or no sense in it."""
    fixed = tuple(str(o.input_line) for o in overrides if not o.is_sweep_override())
    swept = [o for o in overrides if o.is_sweep_override()]
    if not swept:
        fix = "give a key several values: 'optim.lr=tag(log, interval(1e-4, 1e-2))', seed=1,2,3"
        raise ConfigRefused([Problem("E-OVERRIDE", "hydra/sweeper=optuna", "there is nothing to search over", fix)])
    dimensions, problems = [], []
    for override in swept:
        dimension = read_dimension(override)
        if not dimension.choices and not (dimension.low < dimension.high and (dimension.low > 0 or not dimension.log)):
            cause = f"from {dimension.low:g} to {dimension.high:g} there is nothing to choose"
            fix = "the second end is the larger one; on a log scale both are above 0"
            problems.append(Problem("E-RANGE", dimension.key, cause, fix, f"override {override.input_line}"))
        dimensions.append(dimension)
    if problems:
        raise ConfigRefused(problems)
    return Space(fixed, tuple(dimensions))


def read_dimension(override: Override) -> Dimension:
    value, key = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Dimension(key, low=value.start, high=value.end, log="log" in value.tags, whole=whole)
    texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if isinstance(value, RangeSweep) and not value.shuffle and len(texts) > 1:
        numbers = [float(text) for text in texts]
        whole = all(number.is_integer() for number in (*numbers, float(value.step)))
        return Dimension(key, low=min(numbers), high=max(numbers), step=abs(float(value.step)), whole=whole)
    return Dimension(key, choices=texts)
