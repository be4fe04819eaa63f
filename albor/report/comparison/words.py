"""A comparison in sentences: what is best, by how much, and what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from albor.report.comparison.figures import BITS, LOSS, Figure, disagreement, last, stat, text
from albor.report.comparison.model import DONE, ROWS, Entry, Group, Pairing
from albor.report.comparison.ranking import Ranking, Verdict

NAMED = 3
"""Runs that a warning names."""
MACHINE = ("host", "platform", "cpus", "torch", "hardware")


def headline(groups: Sequence[Group], ranking: Ranking) -> str:
    """What is best and by how much, in a sentence or two."""
    if ranking.figure is None:
        return f"{_capital(ranking.reason)}."
    best = groups[ranking.order[0]]
    value = text(ranking.figure, stat(ranking.figure, best))
    seeds = len(stat(ranking.figure, best).values)
    over = f", {seeds} seeds" if seeds > 1 else ""
    parts = [f"{best.label} has the lowest {ranking.figure.title}: {value}{over}."]
    if len(ranking.order) > 1:
        parts.append(_second(groups, ranking))
    if ranking.reason:
        parts.append(f"{_capital(ranking.reason)}.")
    return " ".join(parts)


def _second(groups: Sequence[Group], ranking: Ranking) -> str:
    assert ranking.figure is not None
    place = ranking.order[1]
    if ranking.reference != ranking.order[0]:
        assert ranking.reference is not None
        best, base = ranking.verdicts[ranking.order[0]], groups[ranking.reference].label
        return f"Against the baseline, {base}, that is {gap(ranking.figure, best)}."
    return f"The next, {groups[place].label}, is {gap(ranking.figure, ranking.verdicts[place])}."


def gap(figure: Figure, verdict: Verdict) -> str:
    """``0.052 higher (p = 0.004 by seed)``."""
    difference = verdict.difference or 0.0
    way = f"{figure.write(abs(difference))} {'higher' if difference > 0 else 'lower'}" if difference else "the same"
    return f"{way} ({chance(verdict)})"


def chance(verdict: Verdict) -> str:
    """How sure a difference is."""
    if verdict.test is None or verdict.p is None:
        return verdict.reason
    kind = "seeds paired" if verdict.test.kind == "paired" else "or more seeds, Welch's t"
    return f"{p_text(verdict.p)}, {verdict.test.count} {kind}"


def row_by_row(groups: Sequence[Group], ranking: Ranking, pairings: Sequence[Pairing]) -> str:
    """What the evaluations' rows say of the best and the next where their seeds say nothing; else nothing."""
    if len(ranking.order) < 2 or ranking.reference != ranking.order[0] or ranking.verdicts[ranking.order[1]].test:
        return ""
    label = groups[ranking.order[1]].label
    found = next((p for p in pairings if p.group == label and p.task == ROWS), None)
    if found is None:
        return ""
    way = "higher" if found.difference > 0 else "lower"
    return (
        f" On the same {found.count:,} evaluated rows the loss of its model is {abs(found.difference):.4f} nats {way} "
        f"({p_text(found.p)}, sign-flip test); with another seed either might have come out otherwise."
    )


def p_text(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def warnings(entries: Sequence[Entry], groups: Sequence[Group], ranking: Ranking) -> list[str]:
    """What a reader should know before believing the numbers."""
    return list(_warnings(entries, groups, ranking))


def _warnings(entries: Sequence[Entry], groups: Sequence[Group], ranking: Ranking) -> Iterator[str]:
    names = {entry.id: group.named(entry) for group in groups for entry in group.entries}

    def listed(some: Sequence[Entry], notes: Callable[[Entry], str] = lambda entry: "") -> str:
        told = [f"{names[entry.id]}{f' ({note})' if (note := notes(entry)) else ''}" for entry in some[:NAMED]]
        told += [f"{len(some) - NAMED} more"] if len(some) > NAMED else []
        return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))

    if open_ones := [entry for entry in entries if entry.status != DONE]:
        subject = listed(open_ones, lambda entry: entry.status)
        yield (
            f"{subject} is not finished: its figures are those of the last step it logged."
            if len(open_ones) == 1
            else f"{subject} are not finished: their figures are those of the last step they logged."
        )
    if cut := [entry for entry in entries if disagreement(entry)]:
        yield (
            f"The log does not end as the run did, as when it was cut: {listed(cut, disagreement)}. "
            "Figures are as recorded; curves are of the log."
        )
    if len({entry.rows for entry in entries}) > 1:
        by_seed = ranking.figure is not None and ranking.figure.key == LOSS and len(ranking.order) == len(groups)
        yield (
            "Compared on different validation rows, because the seed chooses them: only runs of the same seed are "
            "held against one another."
            if by_seed
            else "Compared on different validation rows, or with different tokenizers: val_loss and val_ppl of "
            "training must not be ranked against one another."
        )
    if ranking.figure is not None and ranking.figure.key == BITS:
        yield "The first rows of another tokenizer hold other parts of the documents: bits per byte compare roughly."
    if len({entry.stage for entry in entries}) > 1:
        stages = ", ".join(dict.fromkeys(entry.stage for entry in entries))
        yield f"Runs of different stages ({stages}): their training losses may measure different things."
    tokens = {value for entry in entries if entry.status == DONE and (value := last("tokens")(entry)) is not None}
    if len(tokens) > 1:
        yield "Trained on different numbers of tokens: curves over tokens or FLOPs are the fair ones."
    machines = {tuple(entry.environment.get(key, "") for key in MACHINE) for entry in entries}
    if len(machines) > 1:
        yield "Not all on the same hardware and torch: times and tokens/s compare machines as well."
    if len({entry.environment.get("git_commit", "") for entry in entries}) > 1:
        yield "Made by different commits of albor."
    if dirty := [entry for entry in entries if entry.environment.get("git_dirty") == "True"]:
        yield f"Made from a working tree with changes that no commit has: {listed(dirty)}."
    if wild := [entry for entry in entries if entry.columns.bad]:
        yield f"Values that are not finite (marked below the curves) were logged by {listed(wild)}."
    if torn := [entry for entry in entries if entry.columns.unread]:
        yield f"Lines that cannot be read, as a killed process leaves them, were left out of the log of {listed(torn)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
