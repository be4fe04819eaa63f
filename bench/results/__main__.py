"""``collect`` and ``page``; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.results import page, records


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.results")
    verbs = parser.add_subparsers(dest="verb", required=True)
    collecting = verbs.add_parser("collect", help="keep what is in a store")
    collecting.add_argument("store", type=Path, help="a directory with outputs/")
    collecting.add_argument("--loop", type=Path, action="append", default=[], help="what bench.raw_loop has written")
    collecting.add_argument("--verdicts", type=Path, help="what albor falsify --json has printed")
    writing = verbs.add_parser("page", help="write docs/RESULTS.md")
    writing.add_argument("--check", action="store_true", help="only say whether it is what it would be")
    given = parser.parse_args()
    if given.verb == "collect":
        found = [*records.of_store(given.store / "outputs"), *map(records.of_loop, given.loop)]
        records.save(records.merged(records.load(), found))
        if given.verdicts:
            new = records.verdicts(given.verdicts.read_text())
            records.save_verdicts(records.judged(records.load_verdicts(), new))
        print(f"{len(found)} runs kept in {records.PLACE}")
        return 0
    made = page.render(records.load(), records.load_verdicts())
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in [] if given.check else stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path])
    print(f"{', '.join(path.name for path in stale) or 'nothing'} {'is stale' if given.check else 'written'}")
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
