"""Everything wrong with a config, collected: a problem has a code, a place, a cause and a fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

CODES: dict[str, str] = {
    "E-KEY": "A key that no schema has. A mistyped key that is silently ignored trains another model than the one "
    "asked for (a mis-keyed save_interval once did), so every unknown key is refused, also behind `+`.",
    "E-CHOICE": "A choice that its group does not have. `albor ls GROUP` lists the choices.",
    "E-TYPE": "A value of the wrong type: text where a number is meant, a number where a switch is meant.",
    "E-RANGE": "A value outside the range its field allows. NaN and infinities are outside every range.",
    "E-VALUE": "A value that is not one of the few its field allows.",
    "E-MISSING": "A value that has no default and was not given (`???` in YAML).",
    "E-INTERPOLATION": "A ${…} that points nowhere, or is malformed.",
    "E-OVERRIDE": "An override that cannot be read, or that reaches no stage of the target.",
    "E-YAML": "A file that cannot be read as YAML, is larger or deeper than a config needs to be, or has a key twice.",
    "E-TARGET": "`_target_` in a config. albor builds only what its own registry knows; YAML never names code to run.",
    "E-RUN": "A run that is not there, not ready, or not of the kind that is needed.",
    "E-COMPARE": "What must be known before the figures of a comparison are believed: a run that is not finished, "
    "other validation rows, another machine, a log that was cut.",
    "E-DATA": "A corpus, tokenizer or dataset that cannot be used as asked.",
    "E-INFER": "Something that was asked of a model which it cannot do: filling holes, answering messages.",
    "E-SERVE": "A server that cannot be started as it was asked for: its address, its key, what it serves.",
    "E-MODEL": "A checkpoint that is missing, damaged, or not one the decoder computes.",
    "E-TRAIN": "Training that had to stop: a loss that is not finite, checkpoints that are damaged.",
    "E-HANG": "A rank or loader made no progress for trainer.hang_after. The stacks of all threads were written and "
    "say where it waits: for a disk or a network that is gone, or for work that takes so long by right; "
    "trainer.hang_after=10min allows for that. The same command goes on from the last checkpoint.",
    "E-DEVICE": "A device that the config names and this machine does not have.",
    "E-HUB": "The Hugging Face Hub cannot be reached, does not know the token, or refuses what is published.",
    "E-CONTRACT": "Contracts that need each other in a circle, or one that there is not: an error in albor itself.",
    "E-PATH": "A directory that is not there or cannot be used.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing the user must change. ``origin`` is a file:line or the override that set the value."""

    code: str
    path: str
    cause: str
    help: str | None = None
    origin: str | None = None

    def at(self, origin: str | None) -> Problem:
        return replace(self, origin=origin) if origin else self


class ConfigRefused(Exception):
    """A config with problems; all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.cause}" for p in problems))
        self.problems = list(problems)
