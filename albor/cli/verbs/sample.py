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
    prompts = arguments.prompt or ([sys.stdin.read()] if not sys.stdin.isatty() else [])
    if not prompts or not all(prompts):
        raise bad("there is nothing to continue", "--prompt TEXT, or text on standard input")

    from albor.inference.engine import derive_seed
    from albor.inference.loaded import load

    model = load(arguments.words[0], outputs=outputs_of(arguments.overrides))
    for number, prompt in enumerate(prompts):
        try:
            pieces = model.stream(
                prompt,
                arguments.suffix,
                max_tokens=arguments.max_new_tokens,
                temperature=arguments.temperature,
                top_p=arguments.top_p,
                seed=derive_seed(arguments.seed, prompt, number),  # equal prompts get texts of their own
            )
        except ValueError as error:
            raise bad(str(error), "correct --temperature, --top-p or --max-new-tokens") from None
        print(paint(prompt, "dim"), end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print(paint(arguments.suffix or "", "dim"))
    return 0
