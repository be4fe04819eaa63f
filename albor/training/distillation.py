"""Learning from a teacher: divergences at a temperature, mixed with cross-entropy (Hinton et al., 2015).

Shapes: N tokens, V vocabulary, k of its ids, H hidden. Everything is computed in float32 at least, in nats. Of each
divergence D, ``error`` is the slope by the student's softened logits, ∂D/∂(z_s/T): with it, a chunk's gradient is made
while its logits are at hand, and those of all tokens are never in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.schema.distill import Divergence
from albor.models.loss import IGNORED

LOGIT_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20, "mps": 128 << 20}
"""float32 logits of one chunk: about six such tensors are alive, the teacher's among them."""


def soften(logits: Tensor, temperature: float) -> Tensor:
    """The log-probabilities of softmax(logits / T) [N, V]."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.log_softmax(wide / temperature, dim=-1)


def kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(softmax(z_t/T) ‖ softmax(z_s/T)) of each token [N], from logits [N, V]: not below −1e-7 (C-KERNEL-001)."""
    return divergence_of(soften(teacher, temperature), soften(student, temperature))


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
    return divergence_of(*_buckets(soften(student, temperature), ids, log_probs))


def _buckets(known: Tensor, ids: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's and the student's log-probabilities of the k tokens and, where there are others, of the tail."""
    chosen = known.gather(-1, ids)
    teacher = log_probs.to(chosen.dtype)
    if ids.shape[-1] < known.shape[-1]:
        # Summed, not 1 - the rest: that loses all digits of a small tail.
        tail = known.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
        least = torch.finfo(teacher.dtype).tiny
        left = (1 - teacher.exp().sum(-1, keepdim=True)).clamp(min=least).log()
        chosen, teacher = torch.cat((chosen, tail), dim=-1), torch.cat((teacher, left), dim=-1)
    return teacher, chosen


def divergence_of(teacher: Tensor, student: Tensor) -> Tensor:
    """Σ p·(log p − log q) − p + q over the last dimension, of log-probabilities.

    Σ q − p is 0, and so is its gradient; with it, each term is at least 0, so what rounding leaves of two equal
    distributions is not negative.
    """
    apart = teacher - student
    with torch.no_grad():
        # q - p without the difference of two near numbers
        rest = torch.maximum(teacher, student).exp() * torch.expm1(-apart.abs()) * apart.sign()
    return (teacher.exp() * apart + rest).sum(-1)


Compared = tuple[Tensor, Tensor]
"""A divergence of each token [N] and its error [N, V]."""


def forward_kl(teacher: Tensor, student: Tensor) -> Compared:
    """KL(p ‖ q) of log-probabilities [N, V]; error q − p."""
    return divergence_of(teacher, student), student.exp() - teacher.exp()


def reverse_kl(teacher: Tensor, student: Tensor) -> Compared:
    """KL(q ‖ p); error q·(log q − log p − D)."""
    found = divergence_of(student, teacher)
    return found, student.exp() * (student - teacher - found[:, None])


def jensen_shannon(teacher: Tensor, student: Tensor) -> Compared:
    """½·KL(p ‖ m) + ½·KL(q ‖ m), m the mean of both, at most ln 2; error ½·q·(log q − log m − KL(q ‖ m))."""
    mean = torch.logaddexp(teacher, student) - torch.log(torch.tensor(2.0, device=student.device))
    own = divergence_of(student, mean)
    return (divergence_of(teacher, mean) + own) / 2, student.exp() * (student - mean - own[:, None]) / 2


DIVERGENCES: dict[Divergence, Callable[[Tensor, Tensor], Compared]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
}


class Target(Protocol):
    """What the teacher says of N tokens. ``tensors`` are cut into chunks along their first dimension."""

    @property
    def tensors(self) -> tuple[Tensor, ...]: ...

    def compare(self, student: Tensor, temperature: float, *chunk: Tensor) -> Compared:
        """Of the student's softened log-probabilities [n, V] and a chunk of the tensors."""


@dataclass(frozen=True)
class Live:
    """A teacher that computes beside the student: its final hidden states [N, H'] and its head [V', H'].

    Its vocabulary may be padded beyond the student's: those rows are left out.
    """

    hidden: Tensor
    head: Tensor
    divergence: Divergence

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.hidden,)

    def compare(self, student: Tensor, temperature: float, *chunk: Tensor) -> Compared:
        logits = F.linear(chunk[0], self.head[: student.shape[-1]])
        return DIVERGENCES[self.divergence](soften(logits, temperature), student)


@dataclass(frozen=True)
class TopK:
    """The teacher's k likeliest tokens [N, k] and their softened log-probabilities [N, k], all others one bucket."""

    ids: Tensor
    log_probs: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.ids, self.log_probs

    def compare(self, student: Tensor, temperature: float, *chunk: Tensor) -> Compared:
        """Error q_i − p_i of a token that is kept, q_j − p_tail·q_j/q_tail of one in the tail."""
        ids, log_probs = chunk[0].long(), chunk[1].float()
        teacher, known = _buckets(student, ids, log_probs)
        probabilities = student.exp()
        if known.shape[-1] > ids.shape[-1]:
            of_tail = -torch.expm1(teacher[:, -1:] - known[:, -1:])
            error = probabilities * of_tail
        else:
            error = torch.zeros_like(probabilities)
        kept = probabilities.gather(-1, ids) - log_probs.exp()
        return divergence_of(teacher, known), error.scatter(-1, ids, kept)


@dataclass(frozen=True)
class Sampled:
    """Tokens drawn from the teacher's softened distribution [N, k], one as often as it was drawn.

    Their shares are an unbiased estimate of the distribution, and so is the gradient (arXiv 2503.16870). The value is
    KL(shares ‖ student): more than the divergence, by what the shares lack of its entropy.
    """

    ids: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.ids,)

    def compare(self, student: Tensor, temperature: float, *chunk: Tensor) -> Compared:
        ids = chunk[0].long()
        share = torch.full_like(student[:, : ids.shape[-1]], 1 / ids.shape[-1])
        drawn = (ids[:, :, None] == ids[:, None, :]).sum(-1)  # how often, of each draw
        found = (share * ((drawn * share).log() - student.gather(-1, ids))).sum(-1)
        return found, student.exp().scatter_add(-1, ids, -share)


def distillation_loss(
    student: Tensor, labels: Tensor, divergence: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    """L = α·T²·D + (1−α)·CE of each token [N]; 0 where a label is -100.

    T² keeps the gradient of the divergence as large as at T = 1. With α = 0 it is the cross-entropy to the bit
    (C-KERNEL-003).

    Args:
        student: logits [N, V].
        labels: the next tokens [N].
        divergence: D at the same temperature [N].
    """
    wide = student.to(divergence.dtype)
    cross_entropy = F.cross_entropy(wide, labels, ignore_index=IGNORED, reduction="none")
    mixed = alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy
    return torch.where(labels == IGNORED, 0, mixed)


def linear_distillation(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    target: Target,
    *,
    temperature: float,
    alpha: float,
    compile: bool = False,  # noqa: A002 - the trainer's word
) -> tuple[Tensor, Tensor]:
    """Summed ``distillation_loss`` of the student's logits hidden [N, H] · weightᵀ, and the summed divergence.

    Both are float32 scalars; the second has no gradient. Matrix products have the dtype of ``hidden``. ``compile``
    fuses what is done to a chunk's logits.
    """
    chunk = _compiled_chunk() if compile else _chunk
    loss, divergence = _LinearDistillation.apply(hidden, weight, labels, target, temperature, alpha, chunk)
    return loss, divergence


class _LinearDistillation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        target: Target,
        temperature: float,
        alpha: float,
        chunk: Callable[..., tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        head, size = weight.to(hidden.dtype), 4 * weight.shape[0]
        rows = max(1, LOGIT_BYTES[hidden.device.type] // size)
        totals = torch.zeros(2, device=hidden.device)
        hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight)
        chunks = zip(*(t.split(rows) for t in (hidden, hidden_grad, labels, *target.tensors)), strict=True)
        for part, grad, wanted, *taught in chunks:
            sums, error = chunk(target, temperature, alpha, F.linear(part, head), wanted, *taught)
            totals += sums
            error = error.to(hidden.dtype)
            torch.mm(error, head, out=grad)
            weight_grad += error.T @ part
        ctx.save_for_backward(hidden_grad, weight_grad)
        loss, divergence = totals.clone().unbind()
        ctx.mark_non_differentiable(divergence)
        return loss, divergence

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, weight_grad = ctx.saved_tensors
        by = outputs[0]
        return (hidden_grad.float() * by).to(hidden_grad.dtype), weight_grad * by, None, None, None, None, None


@cache
def _compiled_chunk() -> Callable[..., tuple[Tensor, Tensor]]:
    compiled: Callable[..., tuple[Tensor, Tensor]] = torch.compile(_chunk, dynamic=False, fullgraph=True)
    return compiled


def _chunk(
    target: Target, temperature: float, alpha: float, logits: Tensor, labels: Tensor, *taught: Tensor
) -> tuple[Tensor, Tensor]:
    """The summed loss and divergence [2] of a chunk's logits [n, V], and the loss' slope by them [n, V]."""
    logits = logits.float()
    divergence, error = target.compare(soften(logits, temperature), temperature, *taught)
    loss = distillation_loss(logits, labels, divergence, temperature=temperature, alpha=alpha)
    valid = labels != IGNORED
    sums = torch.stack((loss.sum(), torch.where(valid, divergence, 0).sum()))
    onehot = torch.where(valid, labels, 0)[:, None]
    slope = (1 - alpha) * logits.softmax(-1)
    slope = slope.scatter_add(1, onehot, torch.full_like(slope[:, :1], alpha - 1))
    return sums, (slope + alpha * temperature * error) * valid[:, None]
