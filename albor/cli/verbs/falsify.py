"""``albor falsify [ID …] [run=RUN,…]``: what the runs say of albor's predictions. Exit code 1 when one is refuted."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from albor.cli.arguments import Arguments
from albor.cli.render import paint
from albor.config.location import short
from albor.runs.store import outputs_of, write_out

REPORT = Path("falsify", "predictions.md")
"""In the store, with a page of the same name beside it."""
COLOURS = {"CORROBORATED": "green", "FALSIFIED": "red", "UNTESTED": "yellow"}


def run(arguments: Arguments) -> int:
    from albor.audit import falsify

    runs = [text.partition("=")[2] for text in arguments.overrides if text.startswith("run=")]
    root = outputs_of([text for text in arguments.overrides if not text.startswith("run=")])
    predictions = falsify.chosen(arguments.words)
    names = [name for text in runs for name in text.split(",") if name]
    judged = falsify.judge(predictions, falsify.material(root, names))
    report = Path(arguments.out) if arguments.out else root / REPORT
    write_out(report, falsify.markdown(judged))
    write_out(report.with_suffix(".html"), falsify.page(judged))
    if arguments.json:
        print(json.dumps(falsify.as_json(judged), indent=1))
    else:
        for prediction, judgment in judged:
            print(f"{prediction.id}  {paint(judgment.verdict, COLOURS[judgment.verdict])}  {prediction.title}")
            print(textwrap.indent(textwrap.fill(judgment.evidence, 110, break_on_hyphens=False), "    "))
            if judgment.command:
                print(f"    {paint('test it:', 'cyan')} {judgment.command}")
        print(falsify.counts(judged))
    print(f"written: {short(report)} and {report.with_suffix('.html').name}", file=sys.stderr)
    return 1 if any(judgment.verdict == "FALSIFIED" for _, judgment in judged) else 0
