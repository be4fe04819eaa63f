"""``albor sample RUN --prompt TEXT``: let a trained model, of a run or in a directory, continue it."""

from __future__ import annotations

import sys
from pathlib import Path

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.errors import AlborError
from albor.runs.checkpoints import MODEL
from albor.runs.lineage import chain
from albor.runs.manifest import verify
from albor.runs.store import ARTIFACT, Run, Store, outputs_of


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        usage = "albor sample RUN --prompt 'def '; `albor runs` lists them"
        raise bad("`albor sample` takes one run or model directory", usage)
    prompts = arguments.prompt or ([sys.stdin.read()] if not sys.stdin.isatty() else [])
    if not prompts or not all(prompts):
        raise bad("there is nothing to continue", "--prompt TEXT, or text on standard input")
    model = model_directory(arguments)

    from albor.data.tokenizer import Codec
    from albor.evals.samples import complete
    from albor.inference.device import best_device
    from albor.inference.engine import Sampling
    from albor.inference.torch_engine import TorchEngine

    try:
        sampling = Sampling(temperature=arguments.temperature, top_p=arguments.top_p)
        engine = TorchEngine.load(model, device=best_device())
        samples = complete(
            engine,
            Codec.load(model),
            prompts,
            sampling,
            max_new_tokens=arguments.max_new_tokens,
            seed=arguments.seed,
        )
    except ValueError as error:
        raise bad(str(error), "shorten the prompt, or correct --temperature, --top-p or --max-new-tokens") from None
    for sample in samples:
        print(paint(sample["prompt"], "dim") + sample["completion"])
    return 0


def model_directory(arguments: Arguments) -> Path:
    """A directory that holds weights itself, a checkpoint say, or the artifact of a run."""
    given = Path(arguments.words[0])
    if (given / MODEL).is_file():
        return given
    made = with_model(Store(outputs_of(arguments.overrides)).find(arguments.words[0]))
    for name, known in made.manifest.files.items():
        verify(made.artifact / name, known)
    return made.artifact


def with_model(found: Run) -> Run:
    """The run itself when it made a model, else the nearest one upstream that did. Raises AlborError."""
    for directory, manifest in reversed(list(chain(found.directory))):
        if MODEL in manifest.files and (directory / ARTIFACT / MODEL).exists():
            return Run(directory, manifest)
    place = str(found.directory)
    raise AlborError("no model lies in this run or upstream of it", "choose a pretrain run that is done", place=place)
