"""Learning from a teacher with another tokenizer: how likely both find the same chunks of text (arXiv 2503.20083).

Shapes: B rows, T tokens, N = B·T, H hidden, V vocabulary. Of each chunk both know one number, its log-probability, so a
softened probability p^(1/τ) and the rest 1 − p^(1/τ) are compared: two distributions over two outcomes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from albor.data.alignment import UNSCORED
from albor.models.loss import linear_log_probs
from albor.training.distillation import divergence_of

NEAREST = -1e-6
"""Nats of the likeliest chunk: nearer to certainty, float32 logits hold nothing but rounding."""


def chunk_divergence(teacher: Tensor, student: Tensor, tau: float) -> Tensor:
    """KL of (p^(1/τ), 1 − p^(1/τ)), p the teacher's probability, from the student's, elementwise of log-probabilities.

    Not negative, and 0 where both are equal.
    """
    softened = []
    for given in (teacher, student):
        known = given + (given.clamp(max=NEAREST) - given).detach()
        soft = known / tau
        softened.append(torch.stack((soft, torch.log(-torch.expm1(soft))), dim=-1))
    return divergence_of(*softened)


def chunk_sums(log_probs: Tensor, ends: Tensor) -> Tensor:
    """At each place of ``log_probs`` [B, T] where a chunk ends (``ends``, boolean), the sum over it, from the place
    after the last end on; elsewhere, what it comes to so far.

    By doubling, log₂ T additions deep: a difference of running sums would lose the digits of a short chunk in a long
    row, and sums by index come in any order on a GPU.
    """
    begins = F.pad(ends[:, :-1], (1, 0), value=True)
    reach = 1
    while reach < log_probs.shape[1]:
        before = F.pad(log_probs[:, :-reach], (reach, 0))
        log_probs = log_probs + torch.where(begins, 0, before)
        begins = begins | F.pad(begins[:, :-reach], (reach, 0), value=True)
        reach *= 2
    return log_probs


def alignment_loss(
    hidden: Tensor, weight: Tensor, labels: Tensor, marks: Tensor, *, tau: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """Σ α·τ·D of each chunk + Σ (1−α)·CE of each label, and ΣD, which has no gradient; float32 scalars.

    τ keeps the gradient large: for a large τ, that of τ·D by the student's log-probability b is a/b − 1, a the
    teacher's. With α = 0 it is the cross-entropy.

    Args:
        hidden: the student's final hidden states [N, H].
        weight: its head [V, H].
        labels: the next tokens [B, T], or -100.
        marks: what the teacher says of the chunks that end with each label [B, T] (``data/alignment.py``).
    """
    log_probs = linear_log_probs(hidden, weight, labels.flatten())
    sums = chunk_sums(log_probs.view_as(labels), marks <= UNSCORED)
    scored = marks <= 0
    apart = chunk_divergence(torch.where(scored, marks, -1), torch.where(scored, sums, -1), tau)
    divergence = torch.where(scored, apart, 0).sum()
    return alpha * tau * divergence - (1 - alpha) * log_probs.sum(), divergence.detach()


@cache
def compiled() -> Callable[..., tuple[Tensor, Tensor]]:
    """``alignment_loss``, fused."""
    made: Callable[..., tuple[Tensor, Tensor]] = torch.compile(alignment_loss, dynamic=False, fullgraph=True)
    return made
