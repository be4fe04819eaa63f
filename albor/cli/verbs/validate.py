"""``albor validate``: a target, every point of a sweep (-m), or with no argument every config there is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments
from albor.cli.render import plural, show_findings_of, show_problems
from albor.cli.session import planner
from albor.cli.show import as_json, verdict
from albor.config.overrides import refuse_without_sweep

if TYPE_CHECKING:
    from albor.plan.gate import Gate


def run(arguments: Arguments) -> int:
    made = planner(arguments)
    if arguments.multirun:
        from albor.cli.sweeps import refuse
        from albor.plan import sweep

        expanded, what = sweep.tried(made, arguments.overrides)
        code = refuse(sweep.preflight(made, expanded), len(expanded), strict=arguments.strict)
        if code == 0:
            print(f"ok: {plural(len(expanded), what)}")
        return code
    if arguments.overrides:
        plan = made.plan(arguments.overrides)
        refuse_without_sweep(arguments.overrides)
        line, code = verdict(plan, strict=arguments.strict)
        if arguments.json:
            print(json.dumps(as_json(plan), indent=1))
            return code
        show_findings_of([*plan.errors, *plan.warnings])
        print(line, file=sys.stderr if code else sys.stdout)
        return code
    from albor.plan.gate import check_everything

    return show(check_everything(made), json_wanted=arguments.json)


def show(result: Gate, *, json_wanted: bool) -> int:
    """What the gate saw; 2 when a config is refused or was never composed."""
    if json_wanted:
        print(json.dumps(result.as_json(), indent=1))
        return 0 if result.ok else 2
    for case in result.bad:
        print(f"{case.title}", file=sys.stderr)
        show_problems(case.problems)
        show_findings_of(case.findings)
        if case.note:
            print(f"  {case.note}", file=sys.stderr)
    for file in result.never_composed:
        print(f"never composed: {file}", file=sys.stderr)
    counts = f"{plural(result.checked, 'config')} checked, {plural(len(result.files), 'file')} composed"
    if result.refused_as_expected:
        counts += f", {len(result.refused_as_expected)} refused as they say they must be"
    if result.incomplete:
        counts += f", {len(result.incomplete)} need values of yours"
    print(f"{'ok' if result.ok else 'refused'}: {counts}", file=sys.stdout if result.ok else sys.stderr)
    return 0 if result.ok else 2
