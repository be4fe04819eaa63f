"""Targets that a target is made from: a teacher, which is another model, or the rungs of a ladder.

Such a target is a command line of its own, written here: what its ``Upstream`` says of it, what reaches every stage,
and what the command line says of the stages that both have, so that these are the same runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from albor.stages.base import Upstream

if TYPE_CHECKING:
    from albor.plan.target import Target

CHAIN = (
    "model",
    "data",
    "tokenizer",
    "hardware",
    "trainer",
    "executor",
    "tracking",
    "alerts",
    "debug",
    "eval",
    "task",
    "teacher",
    "distill",
)
"""Groups whose choice reaches every stage."""
EVERYWHERE = (
    "seed",
    "outputs",
    "allow",
    "tracking",
    "executor",
    "hardware",
    "alerts",
    "evals",
    "model",
    "teacher",
    "distill",
)
"""Keys whose value reaches every stage: the seed by convention, the model because what is trained in turns has one
shape, the benchmarks because what a model is measured on is kept out of its corpus, the others because they do not
determine results."""
ASIDE = ("data.num_sequences", "data.name", "eval.name", "eval.sandbox")
"""Keys that no result depends on, but contracts, the names of runs or what a machine can do; they reach every stage."""
OWN = ("name", "refused_by")
"""Keys that no result depends on and that are the target's own."""
ALIKE = ("data", "tokenizer", "eval", "task")
"""Sections whose values reach every stage of a ladder's rungs: measured alike, on the same rows."""
SETTLED = ("data", "tokenizer")
"""Groups whose choice another target takes over even when it was a default: it reads the same tokens."""


@dataclass
class Line:
    """The command line of another target."""

    texts: list[str] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    """Those that need not reach a stage of it: they are meant for stages that it may not have."""
    said: dict[str, str] = field(default_factory=dict)
    """What the user wrote, where a text is another."""
    widely: bool = False
    """Whether choices, and values of sections that must be alike, reach every stage that reads them: not the nearest,
    which is another one in each of several targets."""

    def add(self, text: str, *, foreign: bool = False, said: str | None = None) -> None:
        self.texts.append(text)
        if said is not None and said != text:
            self.said[text] = said
        if foreign:
            self.foreign |= {text, self.said.get(text, text)}


def line_of(target: Target, stage: str, upstream: Upstream) -> Line:
    """The command line of what makes an input of ``stage``."""
    assert upstream.target is not None
    line = Line(widely=upstream.address is None or target.part.widely)
    line.add(f"stage={upstream.stage}")
    own = {text.partition("=")[0] for text in upstream.target} if upstream.address else set()
    for group in SETTLED if upstream.address else ():
        line.add(f"{group}={target.config(stage).choices[group]}")
    for text in upstream.target:
        line.add(unaddressed(text, upstream), foreign=text.startswith("up."), said=text)
    for group, (_, text) in target.overrides.choices.items():
        everywhere = group in (*CHAIN, *target.unread_groups) or upstream.address is None
        if everywhere and group not in (*own, "stage", "experiment", "ladder"):
            line.add(text, foreign=True)
    if upstream.stage is not None and target.experiment_stage in (None, upstream.stage):
        for _, text in filter(None, [target.overrides.choices.get("experiment")]):
            line.add(text)
    for text in values_for(target, upstream, own):
        line.add(text, foreign=True)
    for name, texts in target.overrides.upstream.items():
        for text in texts:
            said = up(name, text)
            if name == upstream.address:
                line.add(text, said=said)
            elif name != upstream.stage or upstream.address is None:
                line.add(unaddressed(said, upstream), foreign=True, said=said)
    return line


def values_for(target: Target, upstream: Upstream, own: set[str]) -> Iterator[str]:
    """The values that another target shares with this one, but for sections that it says for itself (``own``)."""
    found: dict[str, None] = {}
    for i, (key, override) in enumerate(target.overrides.values):
        text, head = str(override.input_line), key.partition(".")[0]
        if head == "inputs":
            if key != f"inputs.{upstream.address}":
                found[text] = None
        elif head in EVERYWHERE or key in ASIDE:
            if head not in own:
                found[text] = None
        elif head in ALIKE and (upstream.address is None or target.part.widely):
            found[text] = None
        elif upstream.address is None:
            continue
        elif i in target.unread or (head in CHAIN and target.fills(key)):
            found[text] = None
        else:
            for stage in target.stages():
                if stage not in (target.stage, upstream.stage) and i in target.received(stage):
                    found[up(stage, text)] = None
    for stage in target.stages() if upstream.address else ():
        if stage not in (target.stage, upstream.stage):
            for group, choice in target.choices_of(stage).items():
                found[f"up.{stage}.{group}={choice}"] = None
    yield from found


def up(stage: str, text: str) -> str:
    """An override as said of one stage: +optim.lr=1 → +up.STAGE.optim.lr=1."""
    plain = text.lstrip("+~")
    return f"{text[: len(text) - len(plain)]}up.{stage}.{plain}"


def unaddressed(text: str, upstream: Upstream) -> str:
    """What is said of the stage that makes the input is plain in its own target."""
    plain = text.lstrip("+~")
    own = f"up.{upstream.stage}."
    return text[: len(text) - len(plain)] + plain.removeprefix(own)
