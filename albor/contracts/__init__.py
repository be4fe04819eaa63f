"""Contracts: what must hold before compute is spent. One list, used by the plan, the gate and the docs."""

import albor.contracts.alerts
import albor.contracts.corpus
import albor.contracts.hardware
import albor.contracts.optim
import albor.contracts.shapes
import albor.contracts.training  # noqa: F401
from albor.contracts.base import CONTRACTS, Case, Contract, Finding, check_all
from albor.contracts.plateau import causes

__all__ = ["CONTRACTS", "Case", "Contract", "Finding", "causes", "check_all"]
