"""Which config is best, by how much, whether that is more than chance, and what may not be compared at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from albor.errors import AlborError
from albor.report.comparison.figures import BITS_PER_BYTE, EVAL_LOSS, VAL_LOSS, Figure, Stat, stat
from albor.report.comparison.model import Entry, Group
from albor.report.comparison.significance import Test, compare, holm

LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """A group against the reference."""

    difference: float | None = None
    """Of the means; negative is a lower loss than the reference's."""
    test: Test | None = None
    p: float | None = None
    """The test's, adjusted for how many groups are held against the reference (Holm)."""
    reason: str = ""
    """Why there is no difference, or no test."""

    @property
    def significant(self) -> bool:
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True)
class Ranking:
    """The groups in an order, best first."""

    figure: Figure | None
    """What they are ranked by; None where nothing may be ranked."""
    order: Sequence[int]
    """Places in the list of groups; those that could not be ranked are not in it."""
    reference: int | None
    """The group that the others are held against: the best, or a chosen baseline."""
    verdicts: Sequence[Verdict]
    """One for each group."""
    reason: str = ""
    """Why these are ranked by this figure, or why nothing is."""


@dataclass(frozen=True)
class Yardstick:
    """A figure that runs may be ranked by, where ``on`` says the same of them."""

    figure: Figure
    on: Callable[[Entry], str]
    """What the figure was measured on; empty where that is not known, or nothing was measured."""
    why: str
    """It is taken instead of those before it."""


YARDSTICKS = (
    Yardstick(VAL_LOSS, lambda entry: entry.rows, ""),
    Yardstick(
        EVAL_LOSS,
        lambda entry: entry.evaluation.rows if entry.evaluation else "",
        "ranked by their evaluations, which read the same rows, where training validated on different ones",
    ),
    Yardstick(
        BITS_PER_BYTE,
        lambda entry: entry.documents,
        "ranked by bits per byte: the validation rows differ, the documents that they were made of do not",
    ),
)


def rank(groups: Sequence[Group], baseline: int | None = None) -> Ranking:
    """By the first figure that most groups have and that was measured alike. A group without a finished run is not
    ranked."""
    finished = [i for i, group in enumerate(groups) if group.finished]
    if not finished:
        return _none(groups, "no run is finished: last values are shown, not ranked")
    alike = [(yardstick, _alike(yardstick, groups, finished, baseline)) for yardstick in YARDSTICKS]
    if not any(places for _, places in alike):
        return _none(groups, "no finished run logged a validation loss: nothing is ranked")
    yardstick, places = max(alike, key=lambda found: len(found[1]))  # the first of equals
    if len(places) < 2 <= len(finished):
        return _none(groups, "validated on different rows, of different documents: nothing is ranked")
    left = len(finished) - len(places)
    reasons = [yardstick.why] if yardstick.why else []
    reasons += (
        [f"{left} of {len(finished)} configs are not ranked: measured on other rows, or not at all"] if left else []
    )
    return _ranked(groups, yardstick, places, baseline, "; ".join(reasons))


def _none(groups: Sequence[Group], reason: str) -> Ranking:
    return Ranking(None, (), None, [Verdict(reason="not ranked")] * len(groups), reason)


def _alike(yardstick: Yardstick, groups: Sequence[Group], places: Sequence[int], baseline: int | None) -> list[int]:
    """The largest class of groups that were measured on the same; the baseline's, where there is one.

    A seed may choose the rows. Then groups are alike when the runs of each seed that they share are.
    """
    classes: list[tuple[dict[str, str], list[int]]] = []
    for place in places:
        own = {seed: yardstick.on(entry) for seed, entry in groups[place].by_seed().items()}
        if not all(own.values()) or not stat(yardstick.figure, groups[place]).values:
            continue
        for known, members in classes:
            one = len({*known.values(), *own.values()}) == 1
            shared = [seed for seed in own if seed in known]
            if one or (shared and all(own[seed] == known[seed] for seed in shared)):
                known |= own
                members.append(place)
                break
        else:
            classes.append((own, [place]))
    found = [members for _, members in classes]
    chosen = [members for members in found if baseline in members]
    return (chosen or [max(found, key=len)])[0] if found else []


def _ranked(
    groups: Sequence[Group], yardstick: Yardstick, places: Sequence[int], baseline: int | None, why: str
) -> Ranking:
    figure = yardstick.figure
    stats = {place: stat(figure, groups[place]) for place in places}
    means = {place: mean for place in places if (mean := stats[place].mean) is not None}
    order = sorted(means, key=lambda place: means[place])
    reference = baseline if baseline in means else order[0]
    texts = {yardstick.on(entry) for place in order for entry in groups[place].counted}
    verdicts = [
        _against(stats[place], stats[reference], unpaired=len(texts) == 1)
        if place in means and place != reference
        else Verdict(reason="reference" if place == reference else _left_out(groups[place], places, place))
        for place in range(len(groups))
    ]
    if baseline is not None and baseline not in means:
        why = "; ".join(filter(None, (why, "the baseline cannot be ranked, so the best is the reference")))
    return Ranking(figure, order, reference, _adjusted(verdicts), why)


def _left_out(group: Group, places: Sequence[int], place: int) -> str:
    if not group.finished:
        return "not finished"
    return "other validation rows" if place not in places else "no value"


def _against(own: Stat, other: Stat, *, unpaired: bool) -> Verdict:
    assert own.mean is not None and other.mean is not None
    test = compare(own.values, other.values, unpaired=unpaired)
    if test is not None:
        return Verdict(test.difference, test)
    shared = [seed for seed in own.values if seed in other.values]
    difference = own.mean - other.mean
    if not unpaired and shared:  # a seed chooses the rows: only the same seed's runs compare
        difference = sum(own.values[seed] - other.values[seed] for seed in shared) / len(shared)
    few = min(len(own.values), len(other.values)) < 2
    reason = "one seed: nothing can be said" if few else "no spread" if unpaired else "fewer than two seeds in common"
    return Verdict(difference, reason=reason)


def _adjusted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    tested = [i for i, verdict in enumerate(verdicts) if verdict.test]
    found = list(verdicts)
    for i, p in zip(tested, holm([test.p for v in verdicts if (test := v.test)]), strict=True):
        found[i] = Verdict(verdicts[i].difference, verdicts[i].test, p)
    return found


def baseline_of(groups: Sequence[Group], wanted: str) -> int:
    """The group that holds the run of this id. Raises AlborError when none does."""
    for place, group in enumerate(groups):
        if any(entry.id == wanted for entry in group.entries):
            return place
    raise AlborError("the baseline is none of the compared runs", "name it among the runs, too", place="--baseline")
