"""``albor audit RUN``: whether its model may be released. Exit code 1 when a critical item fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.config.location import short
from albor.errors import AlborError
from albor.runs.store import Store, outputs_of

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
        write(Path(arguments.out), release.FORMATS[arguments.format](made))
        print(made.summary)
        print(f"written: {short(Path(arguments.out))}")
    else:
        print(
            release.as_text(made, coloured) if arguments.format == "text" else release.FORMATS[arguments.format](made)
        )
    return 0 if made.releasable else 1


def coloured(text: str, verdict: Verdict) -> str:
    return paint(text, COLOURS[verdict])


def write(path: Path, text: str) -> None:
    """Raises AlborError when the directory is not there."""
    from albor.runs.files import write_text

    if not path.parent.is_dir():
        raise AlborError(f"the directory {path.parent} does not exist", "create it, or give another --out")
    write_text(path, f"{text}\n")
