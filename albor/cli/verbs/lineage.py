"""``albor lineage RUN``: what a run was made from, down to the sources; with ``--down`` what was made from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from albor.cli.ancestry import as_json, lines
from albor.cli.arguments import Arguments, bad
from albor.config.location import short
from albor.runs.lineage import downstream, upstream
from albor.runs.store import Store, outputs_of, write_out


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor lineage` takes one run", "albor lineage RUN; `albor runs` lists them")
    store = Store(outputs_of(arguments.overrides))
    found = store.find(arguments.words[0])

    from albor.report.sources import with_sources

    if arguments.down:
        whole = downstream(found.directory, [(run.directory, run.manifest) for run in store.runs()])
    else:
        whole = with_sources(upstream(found.directory))
    root = str(found.directory.resolve())
    if arguments.svg:
        from albor.report.lineage import ancestors, drawn_id, svg

        out = Path(arguments.svg)
        write_out(out, svg(ancestors(whole), drawn_id(next(it for it in whole if it.key == root))), "--svg FILE")
        print(f"written: {short(out)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(as_json(whole), indent=1))
    elif not arguments.svg:
        print("\n".join(lines(whole, root, full=arguments.full, down=arguments.down)))
    return 0
