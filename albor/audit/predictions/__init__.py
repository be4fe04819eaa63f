"""The predictions FALSIFY-ALBOR-001 to 009, one file each."""

import albor.audit.predictions.determinism
import albor.audit.predictions.distillation
import albor.audit.predictions.divergence
import albor.audit.predictions.gradients
import albor.audit.predictions.loss
import albor.audit.predictions.quantization
import albor.audit.predictions.slerp
import albor.audit.predictions.sparsity
import albor.audit.predictions.teacher  # noqa: F401
from albor.audit.predictions.base import PREDICTIONS, Judgment, Material, Prediction

__all__ = ["PREDICTIONS", "Judgment", "Material", "Prediction"]
