"""Contracts that our own arithmetic keeps, whatever the config: nothing checks them before a run, their tests do."""

from __future__ import annotations

from dataclasses import dataclass

from albor.contracts.base import Rule


@dataclass(frozen=True, kw_only=True)
class Kernel(Rule):
    """A rule of the code itself."""

    where: str
    """The function or class that keeps it."""


KERNELS: dict[str, Kernel] = {
    kernel.id: kernel
    for kernel in (
        Kernel(
            id="C-KERNEL-001",
            title="Divergences are not negative",
            formula="KL(softmax(z_t/T) ‖ softmax(z_s/T)) ≥ −1e-7; KL(p ‖ p) = 0",
            level=3,
            history="A negative distillation loss means that what is minimised is no divergence, and has no minimum.",
            where="albor.training.distillation.kl",
        ),
        Kernel(
            id="C-KERNEL-002",
            title="A teacher's top k with a tail bucket give a divergence, too",
            formula="0 ≤ KL(top k and tail) ≤ KL(all); equal when k = V",
            level=4,
            needs=("C-KERNEL-001",),
            history="Top-k probabilities do not add up to 1; over them alone, the divergence came out at −0.347.",
            where="albor.training.distillation.top_k_kl",
        ),
        Kernel(
            id="C-KERNEL-003",
            title="Without a share of the teacher, distillation is training",
            formula="α = 0 ⇒ loss = cross-entropy, to the bit",
            level=3,
            where="albor.training.distillation.distillation_loss",
        ),
        Kernel(
            id="C-KERNEL-004",
            title="Distillation's gradient is its slope",
            formula="|∂L/∂z − finite differences| ≤ 1e-4",
            level=3,
            needs=("C-KERNEL-001", "C-KERNEL-002", "C-KERNEL-003"),
            where="albor.training.distillation.distillation_loss",
        ),
        Kernel(
            id="C-KERNEL-005",
            title="A high temperature flattens",
            formula="T = 1000 ⇒ max softmax(z/T) − min softmax(z/T) < 1e-3",
            level=3,
            where="albor.training.distillation.soften",
        ),
        Kernel(
            id="C-KERNEL-006",
            title="Every text comes back from its tokens",
            formula="decode(encode(x)) = x",
            level=3,
            needs=("C-DATA-003",),
            history="The original's first tokenizer split on white space and destroyed Python's indentation.",
            where="albor.data.tokenizer.Codec",
        ),
        Kernel(
            id="C-KERNEL-007",
            title="SLERP stays on the sphere",
            formula="|a| = |b| = 1 ⇒ | |slerp(a, b, t)| − 1 | ≤ 0.01, unless a and b are opposite",
            level=3,
            where="albor.transforms.merge.slerp",
        ),
        Kernel(
            id="C-KERNEL-008",
            title="Pruning takes the share it was told to, the lowest scores first",
            formula="| zeros / weights − sparsity | ≤ 0.001; no score that goes is above one that stays",
            level=3,
            where="albor.transforms.prune.keep_mask",
        ),
        Kernel(
            id="C-KERNEL-009",
            title="Micro-batches add up to the batch",
            formula="Σ ∇(loss(micro-batch) / labels of the step) = ∇(loss(batch) / labels of the step)",
            level=3,
            where="albor.models.decoder.Decoder",
        ),
        Kernel(
            id="C-KERNEL-010",
            title="Every parameter learns",
            formula="∇θ ≠ 0 for every tensor θ, before the first step and after it",
            level=3,
            where="albor.models.decoder.Decoder",
        ),
        Kernel(
            id="C-KERNEL-011",
            title="Grouped-query attention is multi-head attention with shared keys and values",
            formula="attend(q, k, v) = softmax(q·kᵀ/√d)·v, head by head, each group's keys and values repeated",
            level=3,
            needs=("C-MODEL-001",),
            where="albor.models.attention.attend",
        ),
        Kernel(
            id="C-KERNEL-012",
            title="Divergences of chunks are not negative",
            formula="KL((p^(1/τ), 1 − p^(1/τ)) ‖ (q^(1/τ), 1 − q^(1/τ))) ≥ −1e-7; 0 when p = q",
            level=3,
            history="Softened by τ = 100, probabilities are near 1, and 1 − p as a difference has few digits left.",
            where="albor.training.alignment.chunk_divergence",
        ),
    )
}
