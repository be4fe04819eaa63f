"""What can be merged with what, from configs alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from albor.config.schema.merge import Linear, Merge, Slerp
from albor.config.schema.model import Model
from albor.errors import AlborError

UNCOMPARED = ("name", "initializer_range", "dropout", "max_position_embeddings")
"""What models may differ in and still be merged: it does not change what their weights mean."""


def model_weights(method: Merge, inputs: int, *, has_base: bool) -> list[float]:
    """Each model's weight (SLERP has none), divided by their sum where a mean is asked for.

    Raises:
        AlborError: the method cannot merge ``inputs`` models with these weights, with or without the base.
    """
    if has_base != method.needs_base:
        cause = "needs the base that the models were trained from" if method.needs_base else "takes no base"
        raise AlborError(
            f"{method.kind} {cause}", help="give a base to task_arithmetic, ties and dare, and only to them"
        )
    if isinstance(method, Slerp):
        if inputs != 2:
            raise AlborError(f"slerp merges two models, not {inputs}", help="give two, or take merge=linear")
        return []
    if not inputs:
        raise AlborError(f"{method.kind} has no model to merge", help="name the models to merge")
    weights = [1.0] * inputs if method.weights is None else list(method.weights)
    if len(weights) != inputs:
        raise AlborError(
            f"there are {len(weights)} weights for {inputs} models", help="give one weight per model, in their order"
        )
    if isinstance(method, Linear) and method.normalise:
        total = math.fsum(weights)
        if not total:
            raise AlborError("the weights add up to 0, so there is no mean", help="give other weights")
        weights = [weight / total for weight in weights]
    return weights


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Every field for which two models cannot be merged, with both values; what one does not say is not compared."""
    a, b = ({**shape, "head_dim": head_width(shape)} for shape in (a, b))
    names = [field.name for field in dataclasses.fields(Model) if field.name not in UNCOMPARED]
    pairs = [(name, a[name], b[name]) for name in names if name in a and name in b]
    return [f"{name} {mine} and {other}" for name, mine, other in pairs if mine != other]


def head_width(shape: Mapping[str, Any]) -> int | None:
    """The width of a head of a described shape, said or not; None when too little is said."""
    if shape.get("head_dim") or not (shape.get("hidden_size") and shape.get("num_attention_heads")):
        return shape.get("head_dim")
    return int(shape["hidden_size"]) // int(shape["num_attention_heads"])
