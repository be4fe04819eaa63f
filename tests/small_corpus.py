"""A corpus of small functions with doctests, and what makes the smallest models of it."""

from __future__ import annotations

from pathlib import Path

TINY = (
    "debug=default",
    "tracking=none",
    "data=local",
    "data.source.roots=[src]",
    "data.source.licence=MIT",
    "data.dedup.near=false",
    "data.val_fraction=0.2",
    "eval.sandbox=none",
    "tokenizer.vocab_size=350",
    "model.vocab_size=350",
)
"""Beside the files that ``write_corpus`` writes."""
SMALL_RUNGS = (
    "data.seq_len=256",
    "eval.limit=9",
    "eval.sandbox=none",
    "up.finetune.trainer.warmup_steps=1",
    "up.prune.prune.bytes=125kB",
    "up.prune.prune.calibration_rows=8",
)
"""What makes the rungs of a ladder small, with ``debug=default``."""
FUNCTIONS = {
    "add": ("a, b", "a + b", "(1, 2)", "3"),
    "double": ("x", "x * 2", "(4)", "8"),
    "negate": ("x", "-x", "(4)", "-4"),
    "last": ("items", "items[-1]", "([7, 8])", "8"),
    "shout": ("text", "text.upper()", "('a')", "'A'"),
}
FUNCTION = '''
def {name}_{n}({args}):
    """The {name} of what is given, number {n}.

    >>> {name}_{n}{call}
    {result}
    """
    value_{n} = {body}
    return value_{n}
'''


def write_corpus(place: Path) -> None:
    """20 packages of five functions each, in ``place/src``."""
    for n in range(20):
        made = [
            FUNCTION.format(name=name, n=n, args=args, body=body, call=call, result=result)
            for name, (args, body, call, result) in FUNCTIONS.items()
        ]
        path = place / f"src/package{n}/module.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"# Module {n}.\n" + "\n".join(made))
