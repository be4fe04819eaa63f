"""Learning from a teacher: divergences at a temperature, mixed with cross-entropy (Hinton et al., 2015).

Shapes: N tokens, V vocabulary, k of its ids. Everything is computed in float32 at least, in nats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from albor.models.loss import IGNORED


def soften(logits: Tensor, temperature: float) -> Tensor:
    """The log-probabilities of softmax(logits / T) [N, V]."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.log_softmax(wide / temperature, dim=-1)


def kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(softmax(z_t/T) ‖ softmax(z_s/T)) of each token [N], from logits [N, V]: not below −1e-7 (C-KERNEL-001)."""
    return _divergence(soften(teacher, temperature), soften(student, temperature))


def top_k_kl(student: Tensor, ids: Tensor, log_probs: Tensor, *, temperature: float = 1.0) -> Tensor:
    """What is known of ``kl`` when the teacher left only its k likeliest tokens: all others are one bucket, the tail.

    The truncated sum alone can be negative; with the tail, it is a divergence and at most the full one, which it
    equals when k = V (C-KERNEL-002).

    Args:
        student: logits [N, V].
        ids: different tokens [N, k].
        log_probs: the teacher's log softmax(z_t/T) of these, at the same temperature [N, k].

    Returns:
        The divergence of each token [N].
    """
    known = soften(student, temperature)
    chosen = known.gather(-1, ids)
    teacher = log_probs.to(chosen.dtype)
    if ids.shape[-1] < known.shape[-1]:
        # Summed, not 1 - the rest: that loses all digits of a small tail.
        tail = known.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
        least = torch.finfo(teacher.dtype).tiny
        left = (1 - teacher.exp().sum(-1, keepdim=True)).clamp(min=least).log()
        chosen, teacher = torch.cat((chosen, tail), dim=-1), torch.cat((teacher, left), dim=-1)
    return _divergence(teacher, chosen)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Σ p·(log p − log q) − p + q over the last dimension, of log-probabilities.

    Σ q − p is 0, and so is its gradient; with it, each term is at least 0, so what rounding leaves of two equal
    distributions is not negative.
    """
    apart = teacher - student
    with torch.no_grad():
        # q - p without the difference of two near numbers
        rest = torch.maximum(teacher, student).exp() * torch.expm1(-apart.abs()) * apart.sign()
    return (teacher.exp() * apart + rest).sum(-1)


def distillation_loss(
    student: Tensor, labels: Tensor, divergence: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """L = α·T²·KL + (1−α)·CE of each token [N]; 0 where a label is -100.

    T² keeps the gradient of the divergence as large as at T = 1. With α = 0 it is the cross-entropy to the bit
    (C-KERNEL-003).

    Args:
        student: logits [N, V].
        labels: the next tokens [N].
        divergence: ``kl`` or ``top_k_kl`` at the same temperature [N].
    """
    wide = student.to(divergence.dtype)
    cross_entropy = F.cross_entropy(wide, labels, ignore_index=IGNORED, reduction="none")
    mixed = alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy
    return torch.where(labels == IGNORED, 0, mixed)
