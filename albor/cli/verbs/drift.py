"""``albor drift [RUN…]``: what is no longer as it was recorded. Exit code 1 when something is not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments
from albor.cli.render import paint, plural
from albor.config.units import human_bytes
from albor.errors import AlborError
from albor.runs import manifest
from albor.runs.progress import Progress
from albor.runs.store import Run, Store, outputs_of

if TYPE_CHECKING:
    from albor.audit import drift


def run(arguments: Arguments) -> int:
    from albor.audit import drift

    root = outputs_of(arguments.overrides)
    broken = []
    if arguments.words:
        runs = drift.with_upstream([Store(root).find(word) for word in arguments.words])
    else:
        runs = []
        for path in sorted(root.glob(f"*/*/{manifest.NAME}")):
            try:
                runs.append(Run(path.parent, manifest.load(path.parent)))
            except AlborError as error:
                broken.append(drift.unreadable(path.parent, error))
    outcome = looked(runs, quick=arguments.quick)
    outcome.drifted[:0] = broken
    if arguments.json:
        print(json.dumps({**asdict(outcome), "quick": arguments.quick}, indent=1))
    else:
        show(outcome, root, quick=arguments.quick)
    return 1 if outcome.drifted else 0


def looked(runs: list[Run], *, quick: bool) -> drift.Outcome:
    from albor.audit import drift

    with Progress("drift") as bar:
        return drift.look(
            runs,
            quick=quick,
            progress=lambda done, total: bar(done, total, f"{human_bytes(done)} of {human_bytes(total)}"),
        )


def show(outcome: drift.Outcome, root: Path, *, quick: bool) -> None:
    for found in outcome.drifted:
        print(f"{paint(found.kind, 'red', 'bold')} {found.run}: {found.path}: {found.text}")
    for note in outcome.notes:
        print(f"{paint('note', 'dim', stream=sys.stderr)} {note.run}: {note.path}: {note.text}", file=sys.stderr)
    how = "by size alone" if quick else "every byte hashed"
    looked = f"{plural(outcome.runs, 'finished run')} in {root}, {plural(outcome.files, 'file')}, "
    looked += f"{human_bytes(outcome.bytes)}, {how}"
    count = len(outcome.drifted)
    print(f"{plural(count, 'thing')} drifted: {looked}" if count else f"nothing drifted: {looked}")
