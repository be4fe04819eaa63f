"""``albor runs [STAGE]``: the runs in the store, newest last."""

from __future__ import annotations

import json
import time
from pathlib import Path

from albor.cli.arguments import Arguments
from albor.cli.render import clipped, table
from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest
from albor.config.units import human_bytes, human_seconds
from albor.runs.store import Run, Store, lives, outputs_of
from albor.stages.base import names

SHOWN = 80
"""Characters of an error."""
NOTABLE = ("val_ppl", "val_bits_per_byte", "num_sequences", "vocab_size", "steps")


def run(arguments: Arguments) -> int:
    root = outputs_of(arguments.overrides)
    for word in arguments.words:
        if word not in names():
            guess = nearest(word, names())
            fix = f"did you mean `albor runs {guess}`?" if guess else f"the stages are {', '.join(names())}"
            raise ConfigRefused([Problem("E-CHOICE", "runs", f"'{word}' is not a stage", fix)])
    found = [r for r in Store(root).runs() if not arguments.words or r.manifest.stage in arguments.words]
    if arguments.json:
        print(json.dumps([as_json(r) for r in found], indent=1))
        return 0
    if not found:
        print(f"no runs in {root}; `python -m albor` makes the first")
        return 0
    head = ["stage", "run", "status", "made", "took", "size", "facts"]
    print(table([head, *[row(r) for r in found]], right=(4, 5)))
    return 0


def row(found: Run) -> list[str]:
    run = found.manifest
    size = sum(f.bytes for f in run.files.values())
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created))
    took = human_seconds(run.seconds) if run.seconds is not None else ""
    return [
        run.stage,
        found.directory.name,
        status(found),
        made,
        took,
        human_bytes(size) if size else "",
        notable(found),
    ]


def status(found: Run) -> str:
    dead = found.manifest.status == "running" and lives(found.directory, found.manifest) is False
    return "dead" if dead else found.manifest.status


def notable(found: Run) -> str:
    run = found.manifest
    if run.error:
        return clipped(run.error.split("\n")[0].replace(f"{found.directory.absolute()}/", ""), SHOWN)
    facts = [f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v:,}" for k in NOTABLE if (v := run.facts.get(k))]
    return "  ".join(facts[:3])


def as_json(found: Run) -> dict[str, object]:
    run = found.manifest
    fields = ("stage", "id", "label", "created", "started", "finished", "digest", "facts", "error", "command")
    return {"directory": str(Path(found.directory)), "status": status(found), **{k: getattr(run, k) for k in fields}}
