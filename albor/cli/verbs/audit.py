"""``albor audit RUN``: whether its model may be released. Exit code 1 when a critical item fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.config.location import short
from albor.runs.store import Store, outputs_of, write_out

if TYPE_CHECKING:
    from albor.audit.items import Verdict

COLOURS = {"PASS": "green", "FAIL": "red", "UNKNOWN": "yellow", "NOT APPLICABLE": "dim"}


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor audit` takes one run", "albor audit RUN; `albor runs pretrain` lists them")
    found = Store(outputs_of(arguments.overrides)).find(arguments.words[0])

    from albor.audit import release
    from albor.audit.facts import gather

    made = release.audit(gather(found), critical_only=arguments.critical_only)
    if arguments.out:
        out = Path(arguments.out)
        write_out(out, f"{release.FORMATS[arguments.format](made)}\n")
        print(made.summary)
        print(f"written: {short(out)}")
    else:
        print(
            release.as_text(made, coloured) if arguments.format == "text" else release.FORMATS[arguments.format](made)
        )
    return 0 if made.releasable else 1


def coloured(text: str, verdict: Verdict) -> str:
    return paint(text, COLOURS[verdict])
