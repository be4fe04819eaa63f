"""``albor data inspect RUN``, ``albor data stats RUN``: the rows of a corpus, and what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from albor.cli.arguments import Arguments, bad
from albor.errors import AlborError
from albor.runs.lineage import input_path
from albor.runs.store import Run, Store, outputs_of

if TYPE_CHECKING:
    from albor.data.rows import Rows

FLAGS = {"inspect": {"split", "row", "rows"}, "stats": {"all", "json"}}
"""Flags of each, of those that the verb takes."""


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 2 or arguments.words[0] not in FLAGS:
        usage = "albor data inspect RUN, or albor data stats RUN; `albor runs pack` lists the runs"
        raise bad("`albor data` takes what to do and one run", usage)
    what, name = arguments.words
    for other, flags in FLAGS.items():
        for flag in sorted(flags if other != what else ()):
            if getattr(arguments, flag) != getattr(Arguments(), flag):
                raise bad(f"--{flag} does not go with `albor data {what}`", f"it goes with `albor data {other}`")
    found = Store(outputs_of(arguments.overrides)).find(name)
    if found.manifest.status != "done":
        cause = f"this run is {found.manifest.status}, not done"
        raise AlborError(cause, "build it first; `albor runs` lists what is done", place=str(found.directory))
    return inspect(found, arguments) if what == "inspect" else stats(found, arguments)


def inspect(found: Run, arguments: Arguments) -> int:
    if found.manifest.stage != "pack":
        cause = f"a {found.manifest.stage} run has no rows of tokens"
        raise AlborError(cause, "choose a pack run: `albor runs pack`", place=str(found.directory))

    import numpy as np

    from albor.cli.corpus import legend, row_lines
    from albor.data.tokenizer import Codec
    from albor.data.view import pieces

    if arguments.rows < 1:
        raise bad(f"--rows {arguments.rows} shows nothing", "--rows 1 or more")
    rows = open_rows(found, arguments.split)
    first, last = arguments.row, min(arguments.row + arguments.rows, len(rows)) - 1
    if not 0 <= first < len(rows):
        cause = f"there is no row {first} in {arguments.split}: it has {len(rows):,} rows, numbered from 0"
        raise AlborError(cause, f"--row 0 to {len(rows) - 1}", place=str(found.directory))
    codec = Codec.load(input_path(found.directory, found.manifest.inputs["tokenizer"]))
    print(legend())
    for number in range(first, last + 1):
        tokens, ends = rows.read(np.array([number]))
        doc_ends = ends[0].tolist()
        padding = rows.row_len - doc_ends[-1]
        title = f"{arguments.split} row {number:,} of {len(rows):,}: {rows.row_len:,} tokens"
        for line in row_lines(title, pieces(tokens[0].tolist(), doc_ends, codec), padding):
            print(line)
    return 0


def open_rows(found: Run, split: str) -> Rows:
    from albor.data.parquet import shards
    from albor.data.rows import Rows

    paths = shards(found.artifact, split)
    if not paths:
        fix = "look at the other split: --split train" if split == "val" else "build the run again"
        raise AlborError(f"there are no {split} rows in this run", fix, place=str(found.directory))
    return Rows(paths)


def stats(found: Run, arguments: Arguments) -> int:
    import json

    from albor.cli.corpus import card_lines
    from albor.data.card import DataCard, SourceRow, StepRow, rows_of

    stage, place = found.manifest.stage, str(found.directory)
    names = {"pack": ["card.json"], "prepare": ["steps.json", "sources.json"]}.get(stage)
    if names is None:
        raise AlborError(f"a {stage} run has no data card", "choose a pack or a prepare run", place=place)
    try:
        loaded = [json.loads((found.artifact / name).read_text(encoding="utf-8")) for name in names]
    except (OSError, ValueError):
        cause = f"{' and '.join(names)} of this run cannot be read"
        raise AlborError(cause, "remove the run's directory to build it again", place=place) from None
    if arguments.json:
        print(json.dumps(loaded[0] if stage == "pack" else dict(zip(("steps", "sources"), loaded, strict=True))))
        return 0
    if stage == "pack":
        card = DataCard.from_json(loaded[0])
        lines = card_lines(card.steps, card.sources, card.shards, card.facts, everything=arguments.all)
    else:
        steps, sources = rows_of(StepRow, loaded[0]), rows_of(SourceRow, loaded[1])
        lines = card_lines(steps, sources, [], {}, everything=arguments.all)
    print("\n".join(lines))
    return 0
