"""Contracts: what must hold before compute is spent, and what our arithmetic keeps. One list, used by the plan, the
gate and the docs."""

import albor.contracts.alerts
import albor.contracts.corpus
import albor.contracts.distillation
import albor.contracts.hardware
import albor.contracts.optim
import albor.contracts.rungs
import albor.contracts.serving
import albor.contracts.shapes
import albor.contracts.training  # noqa: F401
from albor.contracts.base import CONTRACTS, LEVELS, Case, Contract, Finding, Rule, check_all
from albor.contracts.kernels import KERNELS, Kernel
from albor.contracts.plateau import causes

RULES: dict[str, Rule] = dict(sorted({**CONTRACTS, **KERNELS}.items()))
"""Both kinds, by id: those that configs are held against, and those of the code."""

__all__ = [
    "CONTRACTS",
    "KERNELS",
    "LEVELS",
    "RULES",
    "Case",
    "Contract",
    "Finding",
    "Kernel",
    "Rule",
    "causes",
    "check_all",
]
