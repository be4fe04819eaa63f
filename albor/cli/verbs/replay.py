"""``albor replay RUN --step N``: train up to that step again, beside the run, and compare every bit that was kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from albor.cli.arguments import Arguments, bad
from albor.cli.corpus import shown
from albor.cli.render import paint, plural, table
from albor.errors import INTERRUPTED, AlborError
from albor.plan.build import execute
from albor.runs import manifest, replay
from albor.runs.checkpoints import DIRECTORY, MODEL, step_directory
from albor.runs.lineage import input_path
from albor.runs.replay import Step
from albor.runs.store import Run, Store, outputs_of
from albor.stages.base import find

SHOWN_STEPS = 8
SHOWN_ROWS = 4
SHOWN_NUMBERS = 16
SHOWN_CHARACTERS = 200
NEWLINE = "\n"


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1 or arguments.step is None:
        raise bad("`albor replay` takes one run and a step", "albor replay RUN --step N; `albor runs` lists the runs")
    store = Store(outputs_of(arguments.overrides))
    found, step = store.find(arguments.words[0]), arguments.step
    refuse(found, step)
    with TemporaryDirectory(dir=found.directory.parents[1], prefix=".replay-") as place:
        directory = replay.second(found, Path(place).absolute(), step)
        code = execute(directory, manifest.load(directory))
        if code not in (0, INTERRUPTED):
            return code
        if step not in replay.metrics(directory):
            return INTERRUPTED  # by a signal, before it came there
        for line in batch_lines(found, step):
            print(line)
        return verdict(found, directory, step)


def refuse(found: Run, step: int) -> None:
    """Raises AlborError when there is nothing to compare with."""
    place = str(found.directory)
    if not find(found.manifest.stage).distributed:
        cause = f"a {found.manifest.stage} run does not train"
        raise AlborError(cause, "choose a pretrain run; `albor runs` lists them", place=place)
    recorded = [number for number in replay.metrics(found.directory) if number]
    if not recorded:
        raise AlborError("this run has recorded no step yet", "wait for its first one", place=place)
    if step not in recorded:
        nearest = min(recorded, key=lambda number: abs(number - step))
        every = found.manifest.config["trainer"]["log_every"]
        cause = f"step {step} is not among the {plural(len(recorded), 'recorded step')}"
        raise AlborError(cause, f"the nearest is --step {nearest} (trainer.log_every={every})", place=place)


def verdict(found: Run, directory: Path, step: int) -> int:
    """Prints the steps, what has changed around them, and whether all is the same; 1 when it is not."""
    compared = replay.compare(found.directory, directory, step)
    print(step_table([entry for entry in compared if "loss" in entry.now][-SHOWN_STEPS:]))
    changed = replay.changes(found.directory, directory)
    if changed:
        print(paint("bits may differ, because this is not the same: ", "yellow") + "; ".join(changed))
    different = [entry for entry in compared if entry.differing]
    weights = same_weights(found.directory, directory, step)
    steps = f"{plural(len(compared), 'recorded step')}, {compared[0].number} to {step}"
    inexact = paint("not exact", "red", "bold")
    if different:
        names = ", ".join(different[0].differing)
        print(f"{inexact}: {len(different)} of {steps}; the first is step {different[0].number} ({names})")
    elif weights is False:
        print(f"{inexact}: {steps}, are equal, but the weights of step {step} are not")
    else:
        kept = f"and the weights of step {step}" if weights else f"no checkpoint of step {step} to compare weights with"
        print(f"{paint('bit-exact', 'green', 'bold')}: {steps}; {kept}")
        return 0
    trainer = found.manifest.config["trainer"]
    if trainer["accelerator"] == "cuda" and not trainer["deterministic"]:
        print("a GPU repeats its bits only under trainer.deterministic=true, which this run did not have")
    return 1


def step_table(compared: Sequence[Step]) -> str:
    head = ["step", "loss", "replayed", "gradient norm", "replayed", ""]
    rows = [
        [
            str(entry.number),
            *(str(side.get(key)) for key in ("loss", "grad_norm") for side in (entry.then, entry.now)),
            "differs" if entry.differing else "equal",
        ]
        for entry in compared
    ]
    return table([head, *rows], right=range(5))


def same_weights(then: Path, now: Path, step: int) -> bool | None:
    """Whether the weights of that step have the same SHA-256; None when the run has no intact checkpoint of it."""
    from albor.training.checkpoint.format import Damaged, read_index

    try:
        old = read_index(step_directory(then / DIRECTORY, step))[1]
    except Damaged:
        return None
    return old[MODEL].sha256 == read_index(step_directory(now / DIRECTORY, step))[1][MODEL].sha256


def batch_lines(found: Run, step: int) -> Iterator[str]:
    """What the step read: the loader's position, the rows, and the beginning of the first ones."""
    from albor.data.loader import rows_of
    from albor.data.parquet import shards
    from albor.data.rows import Rows
    from albor.data.tokenizer import Codec

    config = found.manifest.config
    trainer = config["trainer"]
    paths = {name: input_path(found.directory, ref) for name, ref in found.manifest.inputs.items()}
    rows, codec = Rows(shards(paths["rows"], "train")), Codec.load(paths["tokenizer"])
    batch_size = trainer["micro_batch_size"] * trainer["devices"] * trainer["nodes"]
    first = None
    for index in range((step - 1) * trainer["grad_accum"], step * trainer["grad_accum"]):
        epoch, batch, numbers = rows_of(len(rows), batch_size=batch_size, seed=config["seed"], index=index)
        first = numbers if first is None else first
        listed = ", ".join(map(str, numbers[:SHOWN_NUMBERS])) + (", …" if len(numbers) > SHOWN_NUMBERS else "")
        yield f"step {step} read batch {batch} of epoch {epoch}: rows {listed}"
    assert first is not None
    tokens, _ = rows.read(first[:SHOWN_ROWS])
    for number, row in zip(first.tolist(), tokens[:, : config["data"]["seq_len"]].tolist(), strict=False):
        text = shown(codec.decode(row[:SHOWN_CHARACTERS], skip_special=False)[:SHOWN_CHARACTERS])
        yield f"  {paint(f'row {number}', 'dim')}  {text.replace(NEWLINE, '⏎')}"
