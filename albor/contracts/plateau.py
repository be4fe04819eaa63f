"""Why training stands still: what the contracts know of it, for one config."""

from __future__ import annotations

from albor.contracts.base import CONTRACTS, Case

LIKELY = {
    "C-TRAINCFG-002": "a learning rate that never decays: its noise holds the loss up (optim.schedule=cosine)",
    "C-TRAINCFG-003": "too few tokens a step: the gradient is mostly noise (trainer.grad_accum)",
    "C-TRAINCFG-001": "too few data or steps for the model, or a warmup out of proportion",
    "optim.lr": "a learning rate too high or too low for this model and batch",
}
"""Causes of a plateau by contract, or by key where no contract can know; the likeliest first."""


def causes(case: Case) -> tuple[str, ...]:
    """The likely causes of a plateau in this run, a line each: first those whose contract this config breaks, with
    what the contract says of it, then the others; the likeliest first."""
    here, others = [], []
    for name, cause in LIKELY.items():
        found = CONTRACTS[name].findings(case) if name in CONTRACTS else []
        if found:
            here.append(f"{name} (so in this config): {'; '.join(f'{f.message}: {f.help}' for f in found)}")
        else:
            others.append(f"{name}: {cause}")
    return (*here, *others)
