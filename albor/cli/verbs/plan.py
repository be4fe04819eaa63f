"""``albor plan OVERRIDES``: what a target would build; writes nothing, needs no GPU, no torch, no network."""

from __future__ import annotations

import json

from albor.cli.arguments import Arguments
from albor.cli.session import planner
from albor.cli.show import as_json, show_plan, verdict
from albor.config.overrides import refuse_without_sweep


def run(arguments: Arguments) -> int:
    plan = planner(arguments).plan(arguments.overrides)
    refuse_without_sweep(arguments.overrides)
    line, code = verdict(plan, strict=arguments.strict)
    if arguments.json:
        print(json.dumps(as_json(plan), indent=1))
        return code
    show_plan(plan)
    print(f"\n{line}")
    return code
