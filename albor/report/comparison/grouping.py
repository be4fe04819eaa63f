"""What runs differ in, and which of them are the same but for the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from albor.report.comparison.model import SEED, Entry, Group
from albor.report.formats import ABSENT

FEW = 4
"""Keys that a label may name."""


def is_seed(key: str) -> bool:
    return key.rpartition(".")[2] == SEED


def shown(settings: Mapping[str, str], key: str) -> str:
    return settings.get(key, ABSENT)


def differing(entries: Sequence[Entry]) -> list[str]:
    """The keys whose values are not the same everywhere, in the order of the configs; the seed last."""
    keys = dict.fromkeys(key for entry in entries for key in entry.settings)
    found = [key for key in keys if len({shown(entry.settings, key) for entry in entries}) > 1]
    return sorted(found, key=is_seed)


def grouped(entries: Sequence[Entry], labels: Mapping[str, str]) -> list[Group]:
    """The runs by what they differ in beside the seed, in the order of their first.

    ``labels`` names runs by id as the sweep that made them does; others are named by what differs.
    """
    keys = [key for key in differing(entries) if not is_seed(key)]
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(tuple(shown(entry.settings, key) for key in keys), []).append(entry)
    groups = list(found.values())
    telling = _telling(keys, [runs[0].settings for runs in groups])
    names = [_label(runs, telling, labels) for runs in groups]
    taken = Counter(names)
    return [
        Group(name if taken[name] == 1 else f"{name} {runs[0].id[:6]}", runs)
        for name, runs in zip(names, groups, strict=True)
    ]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Keys by their last part, where that tells them apart."""
    listed = list(keys)
    lasts = Counter(key.rpartition(".")[2] for key in listed)
    return {key: last if lasts[last := key.rpartition(".")[2]] == 1 and last != "name" else key for key in listed}


def _telling(keys: Sequence[str], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys without those that follow from their section's name: ``model.name`` says how many layers there are."""
    left = list(keys)
    for name in [key for key in keys if key.endswith(".name")]:
        inside = [key for key in left if key.startswith(name.removesuffix("name")) and key != name]
        values = {(shown(one, name), *(shown(one, key) for key in inside)) for one in settings}
        if len(values) == len({first for first, *_ in values}):
            left = [key for key in left if key not in inside]
    return left


def _label(runs: Sequence[Entry], keys: Sequence[str], labels: Mapping[str, str]) -> str:
    first = runs[0]
    if label := labels.get(first.id, ""):
        return label
    if 0 < len(keys) <= FEW:
        short = short_names(keys)
        return " ".join(f"{short[key].removesuffix('.name')}={shown(first.settings, key)}" for key in keys)
    return f"{first.stage}/{first.label}"
