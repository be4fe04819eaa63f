"""Cross-entropy of the tied head, without the logits of all tokens in memory at once."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""The label of a place that has no target."""
LARGEST = math.log(sys.float_info.max)
"""Nats of a mean loss whose perplexity is still a number."""
LOGIT_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30, "mps": 256 << 20}
"""float32 logits of one chunk: small enough to stay near a CPU (all at once takes half as long again there, in bf16
twice as long), large enough to fill a GPU."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float = 0.0) -> Tensor:
    """Summed cross-entropy in nats (float32 scalar) of ``labels`` [N] under softmax(hidden [N, H] · weightᵀ [H, V]).

    The softmax and the sum are float32, the matrix products have the dtype of ``hidden``. Labels of -100 are ignored.
    ``z_loss`` adds that weight times log²Z per label, Z the softmax's denominator.
    """
    if not torch.is_grad_enabled():
        return _in_chunks(hidden, weight, labels, z_loss, by_hidden=False, by_weight=False)[0]
    total: Tensor = _LinearCrossEntropy.apply(hidden, weight, labels, z_loss)
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient is made while a chunk's logits are at hand: softmax(z)·(1 + 2·z_loss·log Z) - onehot(label)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float) -> Tensor:
        by_weight = ctx.needs_input_grad[1]  # a frozen head has none: a third of the arithmetic less
        total, hidden_grad, weight_grad = _in_chunks(
            hidden, weight, labels, z_loss, by_hidden=True, by_weight=by_weight
        )
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        by_weight = weight_grad * outputs[0] if ctx.needs_input_grad[1] else None
        # In bf16, 1 / labels would be off by up to 0.2%, for all gradients but the head's.
        return (hidden_grad.float() * outputs[0]).to(hidden_grad.dtype), by_weight, None, None


def linear_log_probs(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The log-probability (float32 [N]) of each of ``labels`` [N] under softmax(hidden [N, H] · weightᵀ [H, V]), 0 of a
    label of -100. The backward pass computes the logits again: what is made of these numbers is not known before.
    """
    found: Tensor = _LinearLogProbs.apply(hidden, weight, labels)
    return found


class _LinearLogProbs(torch.autograd.Function):
    """The gradient by the logits: onehot(label) - softmax(z)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight, labels)
        head, buffer, rows = _head(hidden, weight)
        found = []
        for chunk, targets in zip(hidden.split(rows), labels.split(rows), strict=True):
            valid = targets != IGNORED
            logits = _logits(chunk, head, buffer[: len(chunk)])
            label_logits = logits.gather(1, torch.where(valid, targets, 0)[:, None])[:, 0]
            found.append(torch.where(valid, label_logits - logits.logsumexp(-1), 0))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, labels = ctx.saved_tensors
        head, buffer, rows = _head(hidden, weight)
        hidden_grads, weight_grad = [], torch.zeros_like(weight)
        parts = zip(*(tensor.split(rows) for tensor in (hidden, labels, outputs[0])), strict=True)
        for chunk, targets, slope in parts:
            valid = targets != IGNORED
            by = torch.where(valid, -slope, 0)[:, None]
            _, softmax = _softmax(_logits(chunk, head, buffer[: len(chunk)]))
            error = _error(softmax, torch.where(valid, targets, 0)[:, None], by, by).to(hidden.dtype)
            hidden_grads.append(error @ head)
            weight_grad += error.T @ chunk
        return torch.cat(hidden_grads), weight_grad, None


def _head(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, int]:
    """The head in the computing dtype, room for the logits of one chunk, and the rows of a chunk."""
    rows = min(len(hidden), max(1, LOGIT_BYTES[hidden.device.type] // (4 * weight.shape[0])))
    buffer = torch.empty(0 if torch.compiler.is_compiling() else rows, weight.shape[0], device=hidden.device)
    return weight.to(hidden.dtype), buffer, rows


def _in_chunks(
    hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float, *, by_hidden: bool, by_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss and its gradients by ``hidden`` (its dtype) and ``weight`` (float32), empty if not asked for."""
    head, buffer, rows = _head(hidden, weight)
    total = torch.zeros((), device=hidden.device)
    hidden_grads = []
    weight_grad = torch.zeros_like(weight) if by_weight else torch.empty(0, device=weight.device)
    for chunk, targets in zip(hidden.split(rows), labels.split(rows), strict=True):
        valid = (targets != IGNORED)[:, None]
        index = torch.where(valid, targets[:, None], 0)
        logits = _logits(chunk, head, buffer[: len(chunk)])
        label_logits = logits.gather(1, index)
        log_z, softmax = _softmax(logits)
        total = total + ((log_z - label_logits + z_loss * log_z.square()) * valid).sum()
        if by_hidden:
            error = _error(softmax, index, valid * (1 + 2 * z_loss * log_z), valid).to(hidden.dtype)
            hidden_grads.append(error @ head)
            if not by_weight:
                continue
            if error.dtype == weight_grad.dtype:  # no product to be written and read again
                weight_grad.addmm_(error.T, chunk)
            else:
                weight_grad += error.T @ chunk
    return total, torch.cat(hidden_grads) if by_hidden else weight_grad, weight_grad


def _logits(hidden: Tensor, head: Tensor, out: Tensor) -> Tensor:
    """hidden · headᵀ [N, V], float32; eagerly in ``out``: a CPU takes longer to get new memory than to fill it."""
    if torch.compiler.is_compiling():
        return F.linear(hidden, head).float()
    if hidden.dtype == out.dtype:
        return torch.mm(hidden, head.T, out=out)
    return out.copy_(hidden @ head.T)


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log Z [N, 1], and the softmax [N, V]: eagerly in the place of the logits, with one exponential for both."""
    if torch.compiler.is_compiling():  # fused into what reads it; exponentials kept would be written to memory
        log_z = logits.logsumexp(-1, keepdim=True)
        return log_z, (logits - log_z).exp()
    peak = logits.amax(-1, keepdim=True)
    exponentials = logits.sub_(peak).exp_()
    z = exponentials.sum(-1, keepdim=True)
    return peak + z.log(), exponentials.div_(z)


def _error(softmax: Tensor, index: Tensor, factor: Tensor, valid: Tensor) -> Tensor:
    """The gradient by the logits [N, V]: softmax · factor - onehot(index) · valid. Eagerly in the softmax's place."""
    if torch.compiler.is_compiling():  # one fused pass; a scatter would write the softmax to memory first
        hot = torch.arange(softmax.shape[1], device=softmax.device) == index
        return softmax * factor - torch.where(hot, valid, 0).float()
    return softmax.mul_(factor).scatter_add_(1, index, -valid.float())
