from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import settings

from albor.contracts import Case
from albor.plan.resolver import Resolver
from albor.plan.target import Target

# A busy machine is no defect.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def case(resolver: Resolver) -> Callable[..., Case]:
    """The case of one stage of a target; ``inputs`` is what its inputs say of themselves."""

    def make(*texts: str, stage: str = "pretrain", inputs: Mapping[str, Mapping[str, Any]] | None = None) -> Case:
        return Case(Target(resolver, (f"stage={stage}", *texts)).config(stage).config, stage, inputs or {})

    return make
