"""``albor --help``: the grammar, the verbs, the groups; with overrides also every key of that target."""

from __future__ import annotations

import functools
from typing import Any

from albor.cli.arguments import FLAGS, VERBS, Arguments
from albor.cli.render import paint, table
from albor.config.location import options, search_directories

ABSENT: Any = object()
EXAMPLES = (
    (
        "python -m albor",
        "corpus, tokenizer, rows, a tiny model, its evaluation and a report, from this Python's library",
    ),
    ("python -m albor stage=pretrain model=50m", "one stage and whatever it needs"),
    ("python -m albor plan experiment=original/v1", "what it would do, what it costs, what refuses it"),
    ("python -m albor -m stage=pretrain optim.lr=1e-3,3e-4", "a sweep; every point is checked before the first starts"),
)


def show_help(arguments: Arguments) -> int:
    if arguments.verb:
        print(f"albor {arguments.verb}: {VERBS[arguments.verb]}")
        flags = [f"--{f.replace('_', '-')}" for f in FLAGS.get(arguments.verb, ())]
        print(f"flags: {', '.join(['--config-dir DIR', *flags])}")
        return 0
    print("albor: make for small language models of Python code\n")
    print(f"{paint('usage', 'bold')}  albor [VERB] [GROUP=CHOICE …] [KEY=VALUE …] [-m] [--strict] [--config-dir DIR]\n")
    print(_columns([list(e) for e in EXAMPLES]))
    print(f"\n{paint('verbs', 'bold')}")
    print(_columns([[v, text] for v, text in VERBS.items()]))
    print(f"\n{paint('groups', 'bold')}  (albor ls GROUP)")
    found = options(search_directories(arguments.config_dirs))
    print(_columns([[g, ", ".join(c)] for g, c in found.items()]))
    if arguments.overrides:
        _keys(arguments)
    else:
        print("\nalbor explain lists every key; with overrides, --help shows their values too.")
    print("Hydra's own flags work as ever: --cfg job, --info, --hydra-help, -sc install=bash.")
    return 0


def _keys(arguments: Arguments) -> None:
    """Every key that the target's stage reads, with its value and help."""
    from albor.cli.session import planner
    from albor.cli.verbs.explain import first_sentence, show
    from albor.plan.keys import keys

    node = planner(arguments).plan(arguments.overrides).target
    rows = []
    for path, key in keys(node.stage.name).items():
        if node.stage.reads_key(path):
            value = functools.reduce(lambda v, part: getattr(v, part, ABSENT), path.split("."), node.config)
            if value is not ABSENT:
                rows.append([path, show(value), first_sentence(key.help)])
    print(f"\n{paint(f'keys of stage={node.stage.name}', 'bold')}")
    print(_columns(rows))


def _columns(rows: list[list[str]]) -> str:
    return table([[""] * len(rows[0]), *rows]).split("\n", 1)[1]
