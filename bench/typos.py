"""A thousand typing mistakes in keys, group choices and enumerated values: is each refused, is the right word proposed?

    python -m bench.typos [--count 1000] [--seed 1] [--misses]

One character is deleted, inserted, replaced, or swapped with its neighbour. A mistake that happens to be another valid
word is no mistake and is drawn again.
"""

from __future__ import annotations

import argparse
import random
import re
import string
import sys
from dataclasses import dataclass, field

from albor.config.compose import Composer
from albor.config.problems import ConfigRefused
from albor.plan.keys import by_path, keys, walk
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver
from albor.stages import base as stages

ALPHABET = string.ascii_lowercase + string.digits + "_"
LISTS = ("eval.tasks",)
WITH = {
    "teacher.commercial": ("teacher=qwen2_5_coder_3b",),
    "teacher.backend": ("teacher=qwen2_5_coder_3b",),
    "merge.normalise": ("merge=linear",),
    "merge.rescale": ("merge=dare",),
    "merge.variant": ("merge=dare",),
    "instructions.skip_malformed": ("instructions=jsonl", "instructions.path=x"),
    "prune.pattern": ("prune=wanda",),
    "stage.dry_run": ("stage.repo=org/name",),
    "stage.private": ("stage.repo=org/name",),
}
"""What must be chosen for a key with few values to be valid."""


@dataclass(frozen=True)
class Word:
    """Something that a user may type: its kind, what stands around it on the command line, what else is valid there."""

    kind: str
    text: str
    before: str = ""
    after: str = ""
    valid: frozenset[str] = frozenset()


@dataclass
class Tally:
    """What became of the mistakes of one kind."""

    made: int = 0
    refused: int = 0
    first: int = 0
    misses: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(override, word meant, word proposed)"""


def vocabulary(groups: dict[str, list[str]]) -> list[list[Word]]:
    """Every key; every choice of every group; every value of every field that has few."""
    known = keys()
    names = frozenset([*known, *groups])
    sections = frozenset(k.rsplit(".", i)[0] for k in known for i in range(1, k.count(".") + 1))
    key_words = [Word("key", k, after="=1", valid=names | sections) for k in known]
    choice_words = [
        Word("choice", choice, before=f"{group}=", valid=frozenset(choices))
        for group, choices in groups.items()
        for choice in choices
    ]
    value_words = []
    for path, key in known.items():
        before, after = (f"{path}=[", "]") if path in LISTS else (f"{path}=", "")
        value_words += [Word("value", v, before, after, frozenset(key.values)) for v in key.values]
    return [key_words, choice_words, value_words]


def mistype(word: str, rng: random.Random) -> str:
    i = rng.randrange(len(word))
    match rng.choice(("delete", "insert", "replace", "swap")):
        case "delete":
            return word[:i] + word[i + 1 :]
        case "insert":
            return word[:i] + rng.choice(ALPHABET) + word[i:]
        case "replace":
            return word[:i] + rng.choice(ALPHABET) + word[i + 1 :]
        case _:
            return word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]


def mistakes(count: int, seed: int, groups: dict[str, list[str]]) -> list[tuple[Word, str]]:
    """(word meant, word typed), a third of each kind."""
    rng, kinds = random.Random(seed), vocabulary(groups)
    found: list[tuple[Word, str]] = []
    while len(found) < count:
        word = rng.choice(kinds[len(found) % len(kinds)])
        typed = mistype(word.text, rng)
        if typed and typed.casefold() not in {v.casefold() for v in word.valid}:
            found.append((word, typed))
    return found


def context(path: str) -> tuple[str, ...]:
    """The overrides beside which a key is valid: a stage that has it, a choice of its group that does."""
    if not path.startswith("stage.") or path == "stage.name":
        return WITH.get(path, ())
    stage = next(s for s in stages.names() if path in by_path(walk(stages.find(s).config, "stage.")))
    return (f"stage={stage}", *WITH.get(path, ()))


def proposal(planner: Planner, *texts: str) -> tuple[bool, str | None]:
    """Whether the overrides are refused, and the first word proposed instead of one of theirs."""
    try:
        planner.plan(texts)
    except ConfigRefused as refused:
        for problem in refused.problems:
            proposed = re.search(r"did you mean [`']([^`']+)[`']", problem.help or "")
            if proposed:
                return True, proposed[1]
        return True, None
    return False, None


def measure(count: int = 1000, seed: int = 1) -> dict[str, Tally]:
    """A tally for each kind of word."""
    planner = Planner(Resolver(Composer()))
    tallies: dict[str, Tally] = {}
    for word, typed in mistakes(count, seed, planner.resolver.composer.groups):
        tally = tallies.setdefault(word.kind, Tally())
        override = f"{word.before}{typed}{word.after}"
        path = word.before.partition("=")[0] if word.kind == "value" else word.text
        refused, proposed = proposal(planner, *(context(path) if word.kind != "choice" else ()), override)
        meant = f"{word.before}{word.text}" if word.kind == "choice" else word.text
        tally.made += 1
        tally.refused += refused
        tally.first += proposed == meant
        if not refused or proposed != meant:
            tally.misses.append((override, meant, proposed if refused else "ACCEPTED"))
    return tallies


def total(tallies: dict[str, Tally]) -> Tally:
    all_ = Tally()
    for tally in tallies.values():
        all_.made, all_.refused, all_.first = (
            all_.made + tally.made,
            all_.refused + tally.refused,
            all_.first + tally.first,
        )
    return all_


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--misses", action="store_true", help="list what was not proposed")
    given = parser.parse_args()
    tallies = measure(given.count, given.seed)
    whole = total(tallies)
    print("| mistyped | made | refused | right word first |\n|---|---|---|---|")
    for kind, tally in [*tallies.items(), ("all", whole)]:
        print(f"| {kind} | {tally.made:,} | {tally.refused / tally.made:.1%} | {tally.first / tally.made:.1%} |")
    if given.misses:
        for tally in tallies.values():
            for override, meant, proposed in tally.misses:
                print(f"{override}: meant {meant}, proposed {proposed}")
    return 0 if whole.refused == whole.made and whole.first >= 0.95 * whole.made else 1


if __name__ == "__main__":
    sys.exit(main())
