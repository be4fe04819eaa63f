"""What a manifest says is to be done: its config, and whether the contracts still hold of it."""

from __future__ import annotations

from pathlib import Path

from albor.config.schema.config import Config
from albor.config.sections import Structurer
from albor.contracts import Case, check_all
from albor.errors import AlborError
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, Manifest, load
from albor.stages.base import find


def structured(run: Manifest) -> Config:
    """The config of a planned run. Raises AlborError when the schema has changed since."""
    config, problems = Structurer()(run.config, find(run.stage).config)
    if config is None:
        cause = "; ".join(f"{p.path}: {p.cause}" for p in problems)
        raise AlborError(f"the manifest's config is not valid: {cause}", "plan the run again")
    return config


def refuse(directory: Path, run: Manifest) -> None:
    """Contracts once more, with what the inputs that are done by now say of themselves. Raises AlborError."""
    made = {
        name: load(input_path(directory, ref).parent) for name, ref in run.inputs.items() if ref.stage not in EXTERNAL
    }
    facts = {name: {**one.facts, "artifact": one.digest} for name, one in made.items() if one.status == "done"}
    configs = {name: Structurer()(one.config, find(one.stage).config)[0] for name, one in made.items()}
    case = Case(structured(run), run.stage, facts, {name: c for name, c in configs.items() if c is not None})
    for finding in check_all(case):
        if finding.severity == "error":
            place = f"{finding.path}, in {run.stage}/{directory.name}"
            raise AlborError(finding.message, finding.help, place=place, code=finding.id)
