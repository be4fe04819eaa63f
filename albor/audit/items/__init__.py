"""The items of the audit, a file for each section."""

import albor.audit.items.benchmarks
import albor.audit.items.data
import albor.audit.items.evaluation
import albor.audit.items.hypotheses
import albor.audit.items.invariants
import albor.audit.items.reproducibility
import albor.audit.items.safety
import albor.audit.items.waste  # noqa: F401
from albor.audit.item import ITEMS, SECTIONS, Item, Outcome, Severity, Verdict

__all__ = ["ITEMS", "SECTIONS", "Item", "Outcome", "Severity", "Verdict"]
