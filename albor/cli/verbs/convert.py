"""``albor convert SRC DST``: a checkpoint of the original system, [in, out], as a model of albor's."""

from __future__ import annotations

import sys
from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.session import planner
from albor.config.schema.model import Model


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 2:
        raise bad("`albor convert` takes two directories", "albor convert SRC DST; DST is made")
    from albor.models.convert import convert

    source, out = map(Path, arguments.words)
    layout, tensors = convert(source, out, shape=shape(arguments), layout=arguments.layout)
    what = "transposed from [in, out]" if layout == "in_out" else "kept as they were, [out, in]"
    print(f"{tensors} tensors, matrices {what}", file=sys.stderr)
    print(out)
    return 0


def shape(arguments: Arguments) -> Model | None:
    """The model that the overrides say; None leaves it to the directory's config.json."""
    if not arguments.overrides:
        return None
    return planner(arguments).plan(("stage=pretrain", *arguments.overrides)).target.config.model
