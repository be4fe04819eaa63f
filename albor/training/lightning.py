"""What is used of Lightning, imported without what its metrics library would bring along.

Lightning imports torchmetrics, and that imports transformers, torchvision, scipy and more where they are installed, for
metrics that nobody computes here: seconds before the first step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from lightning_utilities.core import imports
from lightning_utilities.core.imports import RequirementCache

NEEDED = ("torch", "torchmetrics", "numpy")


@contextmanager
def without_extras() -> Iterator[None]:
    """While entered, optional libraries seem not to be installed to those who ask as Lightning's libraries do."""
    fulfilled, available = RequirementCache.__bool__, imports.package_available

    def needed(asked: RequirementCache) -> bool:
        name = re.match(r"[\w-]*", asked.requirement or "")
        return name is not None and name[0] in NEEDED and fulfilled(asked)

    with (
        mock.patch.object(RequirementCache, "__bool__", needed),
        mock.patch.object(imports, "package_available", lambda name: name in NEEDED and available(name)),
    ):
        yield


with without_extras():
    import torchmetrics  # noqa: F401

import lightning.pytorch as pl  # noqa: E402
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment  # noqa: E402
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, ParallelStrategy, Strategy  # noqa: E402

__all__ = [
    "DDPStrategy",
    "LightningEnvironment",
    "ModelParallelStrategy",
    "ParallelStrategy",
    "Strategy",
    "TorchElasticEnvironment",
    "pl",
]
