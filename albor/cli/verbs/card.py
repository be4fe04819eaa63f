"""``albor card RUN``: a model's card, as the stage ``export`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments, bad
from albor.config.licences import hub_key, instead
from albor.config.location import short
from albor.errors import AlborError
from albor.runs.store import Store, outputs_of, write_out

if TYPE_CHECKING:
    from albor.audit.card import Wanted

PREFIX = "hardware."
CARD = "README.md"


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor card` takes one run", "albor card RUN; `albor runs pretrain` lists some")
    outputs, wanted = wanted_of(arguments)
    found = Store(outputs).find(arguments.words[0])

    from albor.audit.card import of_run
    from albor.report.model_card import render

    text = render(of_run(found, wanted))
    if arguments.out is None:
        print(text, end="")
        return 0
    if Path(arguments.out).is_file():
        raise AlborError(
            f"{arguments.out} is a file; --out takes a directory",
            f"--out DIR: {CARD} is written there",
            place=arguments.out,
        )
    out = Path(arguments.out) / CARD
    write_out(out, text, "--out DIR")
    print(f"written: {short(out)}")
    return 0


def wanted_of(arguments: Arguments) -> tuple[Path, Wanted]:
    """The store, and what a card is told: the licence of the weights, and what energy is to be worked out with."""
    from albor.audit.card import Wanted
    from albor.report.energy import Assumed

    own = [text for text in arguments.overrides if text.startswith(PREFIX)]
    outputs = outputs_of([text for text in arguments.overrides if not text.startswith(PREFIX)])
    given = {key: number(key, value) for key, _, value in (text.removeprefix(PREFIX).partition("=") for text in own)}
    unknown = sorted(given.keys() - Assumed.__dataclass_fields__.keys())
    if unknown:
        known = ", ".join(f"{PREFIX}{key}" for key in Assumed.__dataclass_fields__)
        raise AlborError(f"{PREFIX}{unknown[0]} says nothing of a run that is done", f"what can be assumed is {known}")
    return outputs, Wanted(licence=licence_of(arguments.licence), assumed=Assumed(**given) if given else None)


def licence_of(given: str | None) -> str | None:
    """The Hub's key of a licence. Raises AlborError for what is none."""
    if given is None:
        return None
    key = hub_key(given)
    if key is None:
        cause = f"'{given}' is no licence that the Hub knows"
        raise AlborError(cause, instead(given), place="--licence", code="E-VALUE")
    return key


def number(key: str, value: str) -> float:
    """Raises AlborError for what is none, or makes no sense of energy."""
    least = {"pue": 1.0}.get(key, 0.0)
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not least <= found < float("inf") or (key == "power" and not found):
        raise AlborError(f"{PREFIX}{key}={value} is no such number", f"a number of at least {least:g}", place=key)
    return found
