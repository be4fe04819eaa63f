from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import settings

from albor.contracts import Case
from albor.plan.resolver import Resolver
from albor.plan.target import Target
from albor.stages import base as stages

# A busy machine is no defect.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def case(resolver: Resolver) -> Callable[..., Case]:
    return maker(resolver)


def maker(resolver: Resolver) -> Callable[..., Case]:
    """What makes the case of one stage of a target; ``inputs`` is what its inputs say of themselves."""

    def make(*texts: str, stage: str = "pretrain", inputs: Mapping[str, Mapping[str, Any]] | None = None) -> Case:
        target = Target(resolver, (f"stage={stage}", *texts))
        config = target.config(stage).config
        made = stages.find(stage).upstream(config)
        planned = {}
        for name, upstream in made.items():
            if upstream.target is not None:
                other = target.others[stage, name]
                planned[name] = other.config(other.stage).config
            elif upstream.default is None:
                planned[name] = target.config(str(upstream.stage)).config
        return Case(config, stage, inputs or {}, planned)

    return make
