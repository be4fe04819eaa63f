"""Whether a run's id still follows from what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from albor.config.problems import Problem
from albor.config.schema.config import Config
from albor.config.sections import Structurer
from albor.config.structure import plain
from albor.runs.manifest import Manifest, run_id
from albor.stages import base as stages

ABSENT: Any = object()


def structured(run: Manifest) -> tuple[Config | None, list[Problem]]:
    """A run's config, or why this albor cannot read it."""
    if run.stage not in stages.names():
        return None, [Problem("E-CHOICE", "stage", f"there is no stage '{run.stage}'")]
    return Structurer()(run.config, stages.find(run.stage).config)


def following(run: Manifest) -> str | None:
    """The id that follows from a manifest. None when another version made it, which hashed other fields: its stage
    counted otherwise, or knew fewer keys of those that determine a result. Raises KeyError for a config that is not one
    of this albor's."""
    config, problems = structured(run)
    if config is None:
        raise KeyError(f"{problems[0].path}: {problems[0].cause}")
    stage = stages.find(run.stage)
    if run.version != stage.version or not all(recorded(path, config, run) for path in {*stage.reads, "stage"}):
        return None
    inputs = {name: ref.id for name, ref in run.inputs.items()}
    return run_id(run.stage, run.version, stages.determining(stage, config), run.identity, inputs)


def recorded(path: str, config: Config, run: Manifest) -> bool:
    """Whether the manifest has every key below a dotted path that determines a result today."""
    for key in stages.DERIVED.get(path, (path,)):
        parts = key.split(".")
        known = reduce(lambda at, part: at.get(part, ABSENT) if isinstance(at, dict) else ABSENT, parts, run.config)
        if not covers(known, plain(reduce(getattr, parts, config), determining=True)):
            return False
    return True


def covers(known: Any, wanted: Any) -> bool:
    """Whether ``known`` has the keys of ``wanted``, in mappings within mappings."""
    if isinstance(wanted, Mapping):
        return isinstance(known, dict) and all(covers(known.get(key, ABSENT), value) for key, value in wanted.items())
    return known is not ABSENT
