"""``albor --help``: the grammar, the verbs, the groups; with overrides also every key of that target."""

from __future__ import annotations

import functools
from typing import Any

from albor.cli.arguments import FLAGS, VERBS, WORDS, Arguments, parser
from albor.cli.render import paint, table
from albor.config.docstrings import field_docs
from albor.config.location import options, search_directories

ABSENT: Any = object()
DETAILS = {
    "lineage": """
RUN's inputs, theirs, and so on down to source archives, directories and downloads: digest, bytes, when, status. What
several share is shown once. --full: whole digests, every archive. --down: what was made from it. --svg FILE: drawn.""",
    "drift": """
Files that are missing, changed or added; inputs that were made again and are another; sources that are not what was
prepared; manifests whose id is not the hash of what they say. Every byte is hashed; --quick goes by names and sizes.
Exit code 1 when something drifted. `verify` asks whether one model is any good, `audit` whether it may be released.""",
    "card": """
As Markdown with the Hub's head: evaluations of these bytes, data and licences, contracts, predictions, lineage, energy.
--out DIR writes DIR/README.md; --licence is that of the weights. hardware.power, pue and carbon_intensity may be given.
`stage=export` writes the same card. docs/releases.md""",
    "release": """
A directory (--out, `release` by default), whole or not at all: RELEASE.md, a card for each model, release.json, and
checksums of these files and of the models. --since DIR says what changed since an earlier one. docs/releases.md""",
    "gc": """
Shows what would be freed; --yes frees it. Kept: models, evaluations, pages and exports; what was asked for by itself;
runs that a process holds or that gave a sign of life within --days (30); and everything that these were made from.
Freed: older planned, failed and interrupted runs; what attempts left half done; checkpoints beyond trainer.keep_last
and keep_best (or --keep-last N); corpora, rows, logits and the like from which no kept run is made; logs of old sweeps.
RUN…: these runs and what only they were made from; --down: and all that was made from them. docs/lineage.md""",
}
"""What there is to say of a verb beyond its line."""
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
        print(f"\n{paint('usage', 'bold')}  {usage(arguments.verb)}\n")
        texts = field_docs(Arguments)
        print(_columns([[option(flag), texts[flag]] for flag in ("config_dirs", *FLAGS.get(arguments.verb, ()))]))
        if arguments.verb in DETAILS:
            print(DETAILS[arguments.verb])
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


def usage(verb: str) -> str:
    """``albor VERB``, and the words that it takes."""
    return " ".join(("albor", verb, *([WORDS[verb]] if verb in WORDS else []), "[GROUP=CHOICE …] [KEY=VALUE …]"))


def option(name: str) -> str:
    """A flag as it is written: ``--split train|val``."""
    action = next(known for known in parser()._actions if known.dest == name)
    return f"{action.option_strings[0]} {'|'.join(action.choices or ()) or action.metavar or ''}".rstrip()


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
