"""``albor release LADDER|RUN…``: cards, notes and checksums of models, as one directory."""

from __future__ import annotations

from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.verbs.card import wanted_of
from albor.config.location import short
from albor.runs.store import Store

OUT = "release"


def run(arguments: Arguments) -> int:
    if not arguments.words:
        raise bad("`albor release` takes a ladder's run, or runs that made models", "`albor runs ladder` lists ladders")
    outputs, wanted = wanted_of(arguments)

    from albor.audit.notes import write

    out = Path(arguments.out or OUT)
    names = write(out, Store(outputs), arguments.words, wanted, Path(arguments.since) if arguments.since else None)
    print(f"written: {short(out)}: {', '.join(names)}")
    return 0
