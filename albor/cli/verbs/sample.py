"""``albor sample RUN --prompt TEXT [--suffix TEXT]``: let a model, of a run or in a directory, continue it."""

from __future__ import annotations

import sys

from albor.cli.arguments import Arguments, bad
from albor.cli.render import paint
from albor.runs.store import outputs_of


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        usage = "albor sample RUN --prompt 'def '; `albor runs` lists them"
        raise bad("`albor sample` takes one run or model directory", usage)
    refuse_out_of_range(arguments)

    from albor.inference.engine import derive_seed
    from albor.inference.loaded import find, load

    outputs = outputs_of(arguments.overrides)
    find(arguments.words[0], outputs)  # a run that is not there is named before a prompt is asked for
    prompts = arguments.prompt or ([sys.stdin.read()] if not sys.stdin.isatty() else [])
    if not prompts or not all(prompts):
        raise bad("there is nothing to continue", "--prompt TEXT, or text on standard input")
    model = load(arguments.words[0], outputs=outputs)
    for number, prompt in enumerate(prompts):
        pieces = model.stream(
            prompt,
            arguments.suffix,
            max_tokens=arguments.max_new_tokens,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            seed=derive_seed(arguments.seed, prompt, number),  # equal prompts get texts of their own
        )
        print(paint(prompt, "dim"), end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print(paint(arguments.suffix or "", "dim"))
    return 0


def refuse_out_of_range(arguments: Arguments) -> None:
    """Raises ConfigRefused: nobody waits for a model to be loaded to hear it."""
    if arguments.max_new_tokens < 1:
        raise bad(f"--max-new-tokens {arguments.max_new_tokens} writes nothing", "--max-new-tokens 1 or more")
    if not arguments.temperature >= 0:
        cause = f"--temperature {arguments.temperature:g} is not 0 or above"
        raise bad(cause, "--temperature 0 takes the likeliest token each time, 1 draws as the model says")
    if not 0 < arguments.top_p <= 1:
        raise bad(f"--top-p {arguments.top_p:g} is not a share of the probability", "--top-p above 0 and up to 1")
