"""The second phase of a benchmark: completions are run or compared, and counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.config.schema.run import Eval
from albor.config.schema.task import Executed, Generated
from albor.evals.generation import KEY
from albor.evals.journal import Journal, Record
from albor.evals.sandbox.bubblewrap import python_at, this_python
from albor.evals.sandbox.program import Limits, Program
from albor.evals.sandbox.workers import Sandbox, execute
from albor.evals.scores import summarise
from albor.evals.tasks.base import Judge, Problem
from albor.evals.tasks.others import WARM

Progress = Callable[[int, int], None]


def sandbox_of(spec: Generated, settings: Eval) -> Sandbox:
    """The sandbox that a task's programs run in. Raises AlborError when there is no such interpreter."""
    assert isinstance(spec, Executed)
    limits = Limits(
        seconds=settings.seconds or spec.seconds, memory=settings.memory or spec.memory, processes=spec.processes
    )
    python = python_at(settings.python) if settings.python else this_python()
    return Sandbox(python, limits, WARM if spec.kind == "ds1000" else (), settings.sandbox == "bubblewrap")


def judge(
    todo: Sequence[tuple[Problem, Record]],
    by: Judge,
    sandbox: Callable[[], Sandbox],
    path: Path,
    *,
    workers: int | None,
    progress: Progress = lambda done, total: None,
) -> list[Record]:
    """The records with verdict, detail and seconds, in the given order.

    Verdicts are appended to ``path`` as they come, and those found there are not made again. Raises AlborError.
    """
    with Journal(path, KEY) as journal:
        progress(len(journal.records), len(todo))
        left = [(problem, record) for problem, record in todo if _key(record) not in journal.records]
        for record, verdict in _verdicts(left, by, sandbox, workers):
            journal.add({**{name: record[name] for name in KEY}, **verdict})
            progress(len(journal.records), len(todo))
        return [{**record, **journal.records[_key(record)]} for _, record in todo]


def _key(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in KEY)


def _verdicts(
    todo: Sequence[tuple[Problem, Record]], by: Judge, sandbox: Callable[[], Sandbox], workers: int | None
) -> Iterator[tuple[Record, Record]]:
    """Each record and its verdict. Programs are made as they are run: all at once they could be gigabytes."""
    to_run = []
    for problem, record in todo:
        made = by.program(problem, record["completion"])
        if isinstance(made, bool):
            yield record, {"verdict": "passed" if made else "failed", "detail": "", "seconds": 0.0}
        else:
            to_run.append((problem, record))
    if not to_run:
        return
    for index, verdict in execute(_programs(to_run, by), sandbox(), workers=workers):
        detail = verdict.detail.encode("utf-8", "replace").decode()
        yield to_run[index][1], {"verdict": verdict.status, "detail": detail, "seconds": round(verdict.seconds, 4)}


def _programs(todo: Sequence[tuple[Problem, Record]], by: Judge) -> Iterator[Program]:
    for problem, record in todo:
        made = by.program(problem, record["completion"])
        assert not isinstance(made, bool)
        yield made


def score(spec: Generated, problems: Sequence[Problem], judged: Sequence[Record]) -> dict[str, Any]:
    """pass@k (exact@k where nothing is run) over all problems and over each of their groups, and counts of verdicts."""
    name = "pass" if isinstance(spec, Executed) else "exact"
    passed: dict[str, list[bool]] = defaultdict(list)
    for record in judged:
        passed[record["problem"]].append(record["verdict"] == "passed")
    found = summarise(passed, spec.pass_at, name=name)
    groups: dict[str, dict[str, list[bool]]] = defaultdict(dict)
    for problem in problems:
        if problem.group is not None:
            groups[problem.group][problem.id] = passed[problem.id]
    if len(groups) > 1:
        found["groups"] = {group: summarise(of, spec.pass_at, name=name) for group, of in sorted(groups.items())}
    found["verdicts"] = dict(sorted(Counter(record["verdict"] for record in judged).items()))
    if cut := sum(bool(record.get("cut_prompt")) for record in judged):
        found["cut_prompts"] = cut
    return found


def empties(problems: Sequence[Problem]) -> list[tuple[Problem, Record]]:
    """An empty completion for every hole: what passes without an answer is the floor of an infilling score."""
    return [(p, {"problem": p.id, "sample": 0, "completion": ""}) for p in problems if p.suffix is not None]


def answers(problems: Sequence[Problem]) -> list[tuple[Problem, Record]]:
    """The answer that the benchmark itself knows, for every problem that has one."""
    return [(p, {"problem": p.id, "sample": 0, "completion": p.answer}) for p in problems if p.answer]


def share_passed(judged: Sequence[Mapping[str, Any]]) -> float:
    return sum(bool(record["verdict"] == "passed") for record in judged) / len(judged)
