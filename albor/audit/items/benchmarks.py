"""Benchmarks that the model was measured by: searched for in the documents, pinned, whole, run in a sandbox."""

from __future__ import annotations

import re
from pathlib import PurePath

from albor.audit.facts import Facts, Measured
from albor.audit.item import Outcome, beside, holds, item, listed, unknown
from albor.config.schema.task import Benchmark, Executed, FimExact, LmEval

NONE = "no evaluation of this model has measured a benchmark"
COMMIT = re.compile(r".+@[0-9a-f]{40}")
"""Files on the Hub that cannot change."""


def from_files(facts: Facts) -> list[Measured]:
    """Those that are not made of the held-out documents. Raises Unknowable."""
    return [found for found in facts.measured if not isinstance(found.spec, FimExact)]


def tasks(found: list[Measured]) -> str:
    return ", ".join(dict.fromkeys(one.task for one in found))


@item("A-DATA-09", "Every benchmark that was measured was searched for", severity="critical")
def searched(facts: Facts) -> Outcome:
    measured = from_files(facts)
    if not measured:
        return beside(NONE)
    known = {plain(name) for name in facts.corpus.run.manifest.facts.get("benchmarks") or []}
    bad = [found for found in measured if plain(name_of(found.task, found.spec)) not in known]
    return holds(not bad, f"measured: {tasks(measured)}" + (f"; not searched for: {tasks(bad)}" if bad else ""))


def name_of(task: str, spec: Benchmark | LmEval) -> str:
    """What a search calls a task's benchmark: after the first directory of its file, or the file."""
    if spec.file is None:
        return task
    path = PurePath(spec.file)
    return (path.name if path.is_absolute() else path.parts[0]).partition(".")[0]


def plain(name: str) -> str:
    """A benchmark's name as it is compared: human-eval is humaneval."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@item("A-DATA-16", "The files that were searched for are those that were measured", severity="major")
def same_files(facts: Facts) -> Outcome:
    from albor.data.benchmarks import fingerprint, hashes
    from albor.data.sources.base import expand

    measured, prepared = from_files(facts), facts.corpus.run.manifest
    if not measured:
        return beside(NONE)
    directory, then = prepared.config["evals"]["data_dir"], prepared.identity.get("benchmarks")
    if directory is None or then is None:
        return holds(False, "nothing was searched for: evals.data_dir was not set")
    if fingerprint(directory) != {"benchmarks": then}:
        return unknown(f"evals.data_dir does not hold the files any more that were searched for ({then[:12]})")
    known = set(hashes(expand(directory)).values())
    other = [found for found in measured if found.file not in known]
    text = f"{len(known)} files searched for; by SHA-256 among them: "
    text += tasks([found for found in measured if found not in other]) or "none"
    unread = [found for found in other if found.file is None or "@" in found.file]
    if other and unread == other:
        return unknown(f"{text}; of {tasks(unread)} no SHA-256 is recorded, as it came from the Hub")
    return holds(not other, text + (f"; not among them: {tasks(other)}" if other else ""))


@item("A-EVAL-13", "Every benchmark that was measured is pinned", severity="major")
def pinned(facts: Facts) -> Outcome:
    measured = from_files(facts)
    if not measured:
        return beside(NONE)
    bad = [found.title for found in measured if not fixed(found)]
    text = f"{len(measured)} files by SHA-256 or commit: {tasks(measured)}"
    return holds(not bad, f"any file would have done for {listed(bad)}" if bad else text)


def fixed(found: Measured) -> bool:
    """Whether the config itself says which bytes the file has."""
    return found.file is not None and (found.file == found.spec.sha256 or COMMIT.fullmatch(found.file) is not None)


@item("A-EVAL-14", "Benchmarks were measured whole", severity="major")
def whole(facts: Facts) -> Outcome:
    if not facts.measured:
        return beside(NONE)
    problems: dict[str, int | None] = {}
    for found in facts.measured:
        score = found.evaluation.facts.get("scores", {}).get(found.task)
        if score and found.evaluation.generations.manifest.config["eval"]["limit"] is None:
            problems.setdefault(found.task, score.get("problems"))
    bad = [found for found in facts.measured if found.task not in problems]
    text = ", ".join(f"{task} ({count:,} problems)" if count else task for task, count in problems.items())
    return holds(not bad, f"cut by eval.limit or without a score: {tasks(bad)}" if bad else text)


@item("A-SAFE-09", "Programs that a model wrote ran in a sandbox", severity="major")
def contained(facts: Facts) -> Outcome:
    executed = [found for found in facts.measured if isinstance(found.spec, Executed)]
    if not executed:
        return beside("no evaluation of this model has run a program")
    free = [found.title for found in executed if sandbox(found) == "none"]
    text = f"{tasks(executed)}: in {', '.join(sorted({sandbox(found) for found in executed}))}"
    return holds(not free, f"with this user's rights: {listed(free)}" if free else text)


def sandbox(found: Measured) -> str:
    return str(found.evaluation.run.manifest.config["eval"]["sandbox"])
