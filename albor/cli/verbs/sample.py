"""``albor sample RUN --prompt TEXT``: let a trained model continue it."""

from __future__ import annotations

import sys

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.errors import AlborError
from albor.runs.lineage import chain
from albor.runs.store import ARTIFACT, Run, Store, outputs_of

WEIGHTS = "model.safetensors"


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor sample` takes one run", "albor sample RUN --prompt 'def '; `albor runs` lists them")
    prompts = arguments.prompt or ([sys.stdin.read()] if not sys.stdin.isatty() else [])
    if not prompts or not all(prompts):
        raise bad("there is nothing to continue", "--prompt TEXT, or text on standard input")
    trained = with_model(Store(outputs_of(arguments.overrides)).find(arguments.words[0]))

    from albor.data.tokenizer import Codec
    from albor.evals.samples import complete
    from albor.inference.device import best_device
    from albor.inference.engine import Sampling
    from albor.inference.torch_engine import TorchEngine

    try:
        sampling = Sampling(
            max_new_tokens=arguments.max_new_tokens,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            seed=arguments.seed,
        )
        engine = TorchEngine.load(trained.artifact, device=best_device())
        samples = complete(engine, Codec.load(trained.artifact), prompts, sampling)
    except ValueError as error:
        raise bad(str(error), "shorten the prompt, or correct --temperature, --top-p or --max-new-tokens") from None
    for sample in samples:
        print(paint(sample["prompt"], "dim") + sample["completion"])
    return 0


def with_model(found: Run) -> Run:
    """The run itself when it made a model, else the nearest one upstream that did. Raises AlborError."""
    for directory, manifest in reversed(list(chain(found.directory))):
        if WEIGHTS in manifest.files and (directory / ARTIFACT / WEIGHTS).exists():
            return Run(directory, manifest)
    place = str(found.directory)
    raise AlborError("no model lies in this run or upstream of it", "choose a pretrain run that is done", place=place)
