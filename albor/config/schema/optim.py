"""Optimizers and learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from albor.config.types import Fraction, NonNegativeFloat, Positive, PositiveFloat

Beta = Annotated[float, Interval(ge=0, lt=1)]
Schedule = Literal["cosine", "linear", "wsd", "constant"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What every optimizer has: AdamW for what is not a matrix at least, clipping, a warmed-up schedule."""

    lr: PositiveFloat
    """Peak learning rate of AdamW, reached at the last warmup step."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay of the first and second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""
    weight_decay: NonNegativeFloat = 0.1
    """Decoupled decay of the matrices; norms and one-dimensional parameters are not decayed."""
    clip_norm: PositiveFloat = 1.0
    """Global gradient norm above which gradients are scaled down."""
    zclip: PositiveFloat | None = None
    """Also scale down gradients whose norm lies more standard deviations than this above its running mean (ZClip; its
    paper takes 2.5); null does not."""
    schedule: Schedule = "cosine"
    """Shape of the learning rate after warmup; every shape but constant decays over the steps that will run."""
    min_lr_ratio: Fraction = 0.1
    """Learning rate at the last step as a share of the peak."""
    decay_fraction: Fraction = 0.2
    """Share of the steps that wsd spends decaying, at the end."""


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """AdamW with decoupled weight decay on matrices only."""

    kind: Literal["adamw"] = "adamw"
    """The optimizer's kind."""


@dataclass(frozen=True, kw_only=True)
class Muon(Optimizer):
    """Muon on the matrices inside the blocks: momentum, orthogonalised. AdamW on embeddings and norms."""

    kind: Literal["muon"] = "muon"
    """The optimizer's kind."""
    matrix_lr: PositiveFloat
    """Peak learning rate of Muon. Updates are scaled to the size of AdamW's, so its rates are comparable."""
    momentum: Beta = 0.95
    """Decay of the momentum, which is Nesterov's."""
    newton_schulz_steps: Positive = 5
    """Iterations of the orthogonalisation."""
