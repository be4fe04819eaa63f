"""From a source to documents that are fit to train on, in two splits: ingest each alone, select among all, publish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from albor.config.schema.data import Data
from albor.config.schema.sources import HubSource, MixSource
from albor.data import benchmarks as benchmark_files
from albor.data import ingest, sources, versions
from albor.data.card import StepRow
from albor.data.decontaminate import Index
from albor.data.errors import DataError
from albor.data.funnel import add, rates
from albor.data.parquet import SPLITS
from albor.data.publish import Part, link, parts, publish, write_statistics
from albor.data.select import DROPPED, TRAIN, Selection, select
from albor.data.sources.base import Progress, Task
from albor.data.steps import Mapper, Output, Step, perform
from albor.data.versions import PARSER
from albor.runs.files import atomic_path

NAMED_PACKAGES = 200
"""Packages held out by chance that the facts name; beyond that they are only counted."""


def prepare(
    data: Data,
    *,
    benchmarks: Path | None,
    seed: int,
    out: Path,
    work: Path,
    executor: Mapper,
    progress: Progress = lambda done, total, text: None,
    log: Callable[[Mapping[str, float]], None] = lambda metrics: None,
) -> dict[str, Any]:
    """Write ``out/{train,val}-NNNNN.parquet`` and what is known about them; ``work`` keeps finished parts for a rerun.

    The documents depend on the set of the source's documents and on the settings; neither the number of workers nor
    the place they run at matters. ``log`` is given MB/s by step, per core.

    Returns:
        ``documents``, ``bytes`` (UTF-8) and ``words`` by split (None without a cap), ``packages`` (how many train, how
        many validate), ``held_out`` (those that validate, by name), ``benchmarks`` (those that were searched for),
        ``read`` and ``rejected`` by reason; read = documents + rejected. Of datasets on the Hub also ``commits``, by
        the source's name.

    Raises:
        DataError: nothing is left, there is too much of it (``max_words``), or the source cannot be read.
    """
    work.mkdir(parents=True, exist_ok=True)
    sources.fetch(data.source, progress)
    tasks = sources.tasks(data.source, limit=data.max_documents, max_characters=data.filters.max_characters)
    if not tasks:
        raise DataError("the source holds no file to read", help="point data.source at files of the kind it names")
    start = time.perf_counter()
    index = _index(benchmarks, work) if benchmarks else None
    indexed = time.perf_counter() - start
    ingested = perform(
        _ingest_step(data, index),
        tasks,
        directory=work,
        executor=executor,
        progress=lambda done, total: progress(done, total, "parts of the source"),
    )
    read = add([[StepRow.from_json(row) for row in output.facts["steps"]] for output in ingested])
    if not read[-1].kept:
        raise DataError(_nothing_left(read), help="point data.source at other files, or loosen data.filters")
    progress(0, 0, "documents are compared")
    start = time.perf_counter()
    selection = select(
        [output.path for output in ingested],
        dedup=data.dedup,
        held_out=data.held_out,
        val_fraction=data.val_fraction,
        seed=seed,
        weights=_weights(data),
    )
    compared = time.perf_counter() - start
    steps = read + selection.steps
    _check(data, steps, selection)
    published = perform(
        Step(name="publish", version=versions.PUBLISH, settings={}, identity=Part.identity, run=publish),
        parts(ingested, selection),
        directory=work,
        executor=executor,
        progress=lambda done, total: progress(done, total, "shards"),
    )
    link(published, out)
    facts = _facts(steps, selection, published)
    if data.max_words is None:
        facts["words"] = None  # they were not counted
    elif facts["words"]["train"] > data.max_words:
        raise DataError(
            f"the training split has {facts['words']['train']:,} words, data.max_words allows {data.max_words:,}",
            help="lower data.max_documents, or take a smaller source",
        )
    write_statistics(out, steps, published)
    facts["benchmarks"] = benchmark_files.names(benchmarks) if benchmarks else []
    # A branch moves on; what was read of it is told by the commit alone.
    if commits := {task.name: task.source.revision for task in tasks if isinstance(task.source, HubSource)}:
        facts["commits"] = commits
    log(
        rates(
            read[0].bytes_taken,
            [
                {"index benchmarks": indexed, "compare": compared},
                *(output.seconds for output in (*ingested, *published)),
            ],
        )
    )
    return facts


def _index(benchmarks: Path, work: Path) -> Path:
    """The file of words and runs to search for; named by what it was made of."""
    known = benchmark_files.fingerprint(str(benchmarks))
    index = work / f"benchmarks-{versions.INGEST}-{known['benchmarks']}.npz"
    if not index.exists():
        with atomic_path(index) as temporary:
            Index.build(benchmarks).save(temporary)
    return index


def _ingest_step(data: Data, index: Path | None) -> Step[Task]:
    count_words = data.max_words is not None
    return Step(
        name="ingest",
        version=versions.INGEST,
        settings={
            "filters": asdict(data.filters),
            "dedup": asdict(data.dedup),
            "benchmarks": index.name if index else None,
            "count_words": count_words,
            "parser": PARSER,
        },
        identity=Task.identity,
        run=partial(ingest.ingest, filters=data.filters, dedup=data.dedup, benchmarks=index, count_words=count_words),
    )


def _weights(data: Data) -> dict[str, float]:
    if not isinstance(data.source, MixSource):
        return {}
    return {name: part.weight for name, part in data.source.parts.items() if part.weight is not None}


def _check(data: Data, steps: Sequence[StepRow], selection: Selection) -> None:
    for before, after in pairwise(steps):
        assert before.kept == after.taken, f"a document was lost or counted twice before {after.name}"
    # A bounded look at a corpus need not reach every package.
    if selection.unknown and data.max_documents is None:
        near = {name: get_close_matches(name, selection.names, 1) for name in selection.unknown}
        meant = ", ".join(f"{found[0]} for {name}" for name, found in near.items() if found)
        raise DataError(
            f"data.held_out names packages of which no document passes the filters: {', '.join(selection.unknown)}",
            help=f"did you mean {meant}?" if meant else f"the source has {', '.join(sorted(selection.names)[:20])}, …",
        )
    if not (selection.assigned != DROPPED).any():
        raise DataError(_nothing_left(steps), help="loosen data.dedup, or take a larger source")
    if not (selection.assigned == TRAIN).any():
        raise DataError("all that is left of the source validates: nothing is left to train on", help="hold out less")


def _nothing_left(steps: Sequence[StepRow]) -> str:
    if not steps[0].taken:
        return "the source holds no document"
    reasons = ", ".join(f"{reason} {count}" for step in steps for reason, count in step.rejected.items())
    return f"none of the {steps[0].taken} documents read is left: {reasons}"


def _facts(steps: Sequence[StepRow], selection: Selection, published: Sequence[Output]) -> dict[str, Any]:
    rejected: Counter[str] = Counter()
    for step in steps:
        rejected.update(step.rejected)
    facts: dict[str, Any] = {
        what: {split: sum(output.facts[what][split] for output in published) for split in SPLITS}
        for what in ("documents", "bytes", "words")
    }
    assert steps[0].taken == sum(facts["documents"].values()) + rejected.total(), "a document was lost or counted twice"
    return facts | {
        "packages": selection.packages,
        "held_out": selection.held_out if len(selection.held_out) <= NAMED_PACKAGES else [],
        "read": steps[0].taken,
        "rejected": dict(sorted(rejected.items())),
    }
