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
from albor.plan.nodes import Node
from albor.plan.others import CHAIN
from albor.plan.resolver import value_at
from albor.runs.checkpoints import DIRECTORY, is_checkpoint, run_around, run_of, steps
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL, NAME, InputRef, Manifest, load
from albor.runs.store import Run, Store


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor eval` takes one checkpoint", "albor eval outputs/pretrain/RUN/checkpoints/step-00000200")
    path = Path(arguments.words[0])
    if not is_checkpoint(path):
        path = newest(Store(store_of(arguments) or Path("outputs")).find(arguments.words[0]))
        print(f"evaluates {short(path)}", file=sys.stderr)
    return target.run(replace(arguments, verb=None, words=[], overrides=overrides_for(arguments, path)))


def store_of(arguments: Arguments) -> Path | None:
    """The store that is named by an override."""
    given = next((text for text in arguments.overrides if text.startswith("outputs=")), None)
    return Path(str(plain_value(parse(given)))) if given else None


def overrides_for(arguments: Arguments, path: Path) -> tuple[str, ...]:
    """What makes ``stage=eval`` the evaluation of a checkpoint. Raises AlborError."""
    given = {text.partition("=")[0].lstrip("+~"): text for text in arguments.overrides}
    store = store_of(arguments)
    outputs = str(store) if store else None
    trained, around = run_of(path), run_around(path)
    if outputs is None:  # the store that the checkpoint lies in
        outputs = str(around.directory.parents[1] if around else trained.config["outputs"])
    texts = {
        **choices(arguments, trained),
        "seed": written(trained.config["seed"]),
        "outputs": written(outputs),
        "inputs.model": written(str(path.absolute())),
    }
    own = [f"{key}={text}" for key, text in texts.items() if key not in given]
    overrides = ("stage=eval", *own, *arguments.overrides)
    sources = {name: source(name, trained, around, Store(Path(outputs))) for name in wanted(arguments, overrides)}
    inputs = [f"inputs.{name}={written(place)}" for name, place in sources.items()]
    return (*overrides, *inputs)


def wanted(arguments: Arguments, overrides: tuple[str, ...]) -> list[str]:
    """What the tasks need besides the model and was not given."""
    nodes = planner(arguments).plan(overrides).nodes
    generate = next(node for node in nodes if node.stage.name == "generate")
    return [name for name, made in generate.inputs.items() if isinstance(made, Node)]


def newest(found: Run) -> Path:
    found_steps = steps(found.directory / DIRECTORY)
    if not found_steps:
        if found.manifest.stage in TRAINING:
            raise no_checkpoint(found)
        raise AlborError(
            "this run does not train, and has no checkpoint", "choose one that does", place=str(found.directory)
        )
    return found_steps[0]


def written(value: object) -> str:
    """A value as an override has it: Hydra's grammar reads JSON's scalars and lists."""
    return json.dumps(value, ensure_ascii=False)


def choices(arguments: Arguments, trained: Manifest) -> dict[str, str]:
    """The run's choices of what reaches every stage, and its values for what their files leave open (``???``), as
    overrides have them."""
    chosen = {group: c for group in CHAIN if (c := trained.choices.get(group)) is not None}
    composed = planner(arguments).resolver.composer.compose({**chosen, "stage": "eval"})
    open_keys = [path for path, leaf in leaves(composed.tree) if leaf == MISSING]
    return {
        **{group: c if c.startswith("[") else written(c) for group, c in chosen.items()},  # several: [a,b]
        **{key: written(value_at(trained.config, key)) for key in open_keys},
    }


def source(name: str, trained: Manifest, around: Run | None, store: Store) -> str:
    """Where what the run was trained with, or that was made from, lies now. Raises AlborError when it is gone."""
    directory = around.directory if around else None
    if name in trained.inputs:
        return str(place_of(name, trained.inputs[name], directory, store))
    rows = place_of("rows", trained.inputs["rows"], directory, store)
    made_from = load(rows).inputs if (rows / NAME).exists() else {}
    if name not in made_from:
        raise gone(f"the {name} behind its rows are not known", name, store)
    return str(place_of(name, made_from[name], rows, store))


def place_of(name: str, ref: InputRef, directory: Path | None, store: Store) -> Path:
    """The directory of an input that ``ref`` names, as seen from ``directory``."""
    if ref.stage in EXTERNAL:
        place = Path(ref.path)
        if place.is_dir():
            return place
    else:
        recorded = [input_path(directory, ref).parent] if directory else []
        for place in (*recorded, store.directory(ref.stage, "", ref.id)):
            if (place / NAME).exists():
                return place.absolute()
    raise gone(f"the {name} that it was trained with, {ref.stage} {ref.id}, are not there any more", name, store)


def gone(cause: str, name: str, store: Store) -> AlborError:
    return AlborError(cause, f"give others: inputs.{name}=RUN, or a directory", place=str(store.root))
