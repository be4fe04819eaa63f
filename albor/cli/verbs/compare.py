"""``albor compare [RUN…|SWEEP]``: which run was better, and why: curves, finals and differences on one page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments
from albor.cli.choosing import Library, choose, trained
from albor.cli.render import message, table
from albor.config.location import short
from albor.runs.store import Store, outputs_of, write_out

if TYPE_CHECKING:
    from albor.report.comparison.whole import Comparison

FOLDER = ".compare"
"""Of the store, for the pages."""
PAGE = "index.html"


def run(arguments: Arguments) -> int:
    root = outputs_of(arguments.overrides)
    comparison = gather(Library(Store(root)), arguments)
    if arguments.markdown:
        from albor.report.comparison.table import markdown

        print(markdown(comparison), end="")
        return 0
    from albor.report.comparison.page import render
    from albor.report.comparison.table import plain
    from albor.report.shell import one_line

    out = page_of(arguments.out, root, comparison.name)
    write_out(out, render(comparison))
    rows = plain(comparison)
    print(comparison.headline)
    print(table(rows, right=range(2, len(rows[0]) - 1)))
    for warning in comparison.warnings:
        print(message("warning", "E-COMPARE", one_line(warning), None, None, sys.stderr), file=sys.stderr)
    print(f"written: {short(out)}", file=sys.stderr)
    if arguments.wandb:
        send(comparison, out.parent / "wandb-report.json")
    return 0


def gather(library: Library, arguments: Arguments) -> Comparison:
    """What is compared, and what evaluations say of it. Raises AlborError."""
    from albor.cli.entries import entries
    from albor.cli.evaluated import Evaluations, pairings, paths
    from albor.report.comparison.whole import compared

    chosen = choose(library, arguments.words)
    evaluations = Evaluations(library)
    found = evaluations.into(entries(library, chosen.runs))
    comparison = compared(
        found,
        name=chosen.name,
        command=command(arguments, chosen.words),
        labels=chosen.labels,
        baseline=None if arguments.baseline is None else baseline(library, arguments.baseline),
    )
    return comparison.with_evaluations(pairings(evaluations, comparison), paths(evaluations, found))


def baseline(library: Library, name: str) -> str:
    """The id of the run that trained what is named. Raises AlborError."""
    return trained(library, library.store.find(name))[0].manifest.id


def command(arguments: Arguments, words: Sequence[str]) -> str:
    """What makes the same comparison again, whatever was run since."""
    against = ["--baseline", arguments.baseline] if arguments.baseline else []
    return shlex.join(["albor", "compare", *words, *against, *arguments.overrides])


def page_of(given: str | None, root: Path, name: str) -> Path:
    if given is None:
        return root / FOLDER / name / PAGE
    return Path(given) / PAGE if Path(given).is_dir() else Path(given)


def send(comparison: Comparison, beside: Path) -> None:
    """The same as a W&B report: saved where one is logged in, else as JSON beside the page. Raises AlborError."""
    from albor.report.comparison import wandb_report
    from albor.runs.tracking import logged_in

    if logged_in():
        print(f"saved: {wandb_report.save(wandb_report.report(comparison, online=True))}", file=sys.stderr)
        return
    write_out(beside, wandb_report.serialised(wandb_report.report(comparison, online=False)))
    said = f"not logged in to W&B, so the report was not sent: it is in {short(beside)}"
    print(f"{said}; `wandb login`, then the same command sends it", file=sys.stderr)
