"""``albor eval CKPT``: measure a checkpoint, as ``stage=eval`` in the same command as its training would have."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.session import planner
from albor.cli.verbs import run as target
from albor.cli.verbs.verify import no_checkpoint
from albor.config.location import short
from albor.config.overrides import parse, plain_value
from albor.config.structure import MISSING
from albor.config.tree import leaves
from albor.contracts.base import TRAINING
from albor.errors import AlborError
from albor.plan.resolver import value_at
from albor.plan.target import CHAIN
from albor.runs.checkpoints import DIRECTORY, is_checkpoint, run_around, run_of, steps
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, NAME, InputRef, Manifest
from albor.runs.store import Run, Store


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor eval` takes one checkpoint", "albor eval outputs/pretrain/RUN/checkpoints/step-00000200")
    given = {text.partition("=")[0].lstrip("+~"): text for text in arguments.overrides}
    outputs = str(plain_value(parse(given["outputs"]))) if "outputs" in given else None
    path = Path(arguments.words[0])
    if not is_checkpoint(path):
        path = newest(Store(Path(outputs or "outputs")).find(arguments.words[0]))
        print(f"evaluates {short(path)}", file=sys.stderr)
    trained, around = run_of(path), run_around(path)
    if outputs is None:  # the store that the checkpoint lies in
        outputs = str(around.directory.parents[1] if around else trained.config["outputs"])
    texts = {
        **choices(arguments, trained),
        "seed": trained.config["seed"],
        "outputs": outputs,
        "inputs.model": str(path.absolute()),
        **{
            f"inputs.{name}": source(name, trained.inputs[name], around, Store(Path(outputs)))
            for name in ("rows", "tokenizer")
            if f"inputs.{name}" not in given
        },
    }
    # Hydra's grammar reads JSON's scalars and lists.
    own = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in texts.items() if key not in given]
    return target.run(replace(arguments, verb=None, words=[], overrides=("stage=eval", *own, *arguments.overrides)))


def newest(found: Run) -> Path:
    found_steps = steps(found.directory / DIRECTORY)
    if not found_steps:
        if found.manifest.stage in TRAINING:
            raise no_checkpoint(found)
        raise AlborError(
            "this run does not train, and has no checkpoint", "choose one that does", place=str(found.directory)
        )
    return found_steps[0]


def choices(arguments: Arguments, trained: Manifest) -> dict[str, object]:
    """The run's choices of what reaches every stage, and its values for what their files leave open (``???``)."""
    chosen: dict[str, str | None] = {group: c for group in CHAIN if (c := trained.choices.get(group)) is not None}
    composed = planner(arguments).resolver.composer.compose({**chosen, "stage": "eval"})
    open_keys = [path for path, leaf in leaves(composed.tree) if leaf == MISSING]
    return {**chosen, **{key: value_at(trained.config, key) for key in open_keys}}


def source(name: str, ref: InputRef, around: Run | None, store: Store) -> str:
    """Where an input of the run lies now. Raises AlborError when it is gone."""
    if ref.stage in EXTERNAL:
        place = Path(ref.path)
        if place.is_dir():
            return str(place)
    else:
        recorded = [input_path(around.directory, ref).parent] if around else []
        for place in (*recorded, store.directory(ref.stage, "", ref.id)):
            if (place / NAME).exists():
                return str(place.absolute())
    cause = f"the {name} that it was trained with, {ref.stage} {ref.id}, are not there any more"
    raise AlborError(cause, f"give others: inputs.{name}=RUN, or a directory", place=str(store.root))
