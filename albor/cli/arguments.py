"""The command line: an optional verb, Hydra overrides, a few flags."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest

VERBS: dict[str, str] = {
    "plan": "what a target would build, what it costs, and what refuses it; writes nothing",
    "validate": "check a target, every point of a sweep (-m), or with no argument every config there is",
    "ls": "groups and their choices",
    "explain": "what a key, a contract or an error code means",
    "contracts": "what must hold: each contract's level, tests and status; details of C-ID…; --graph draws them",
    "fit": "the largest micro-batch, and the accumulation for a number of tokens a step",
    "runs": "the runs in the store",
    "diff": "how two runs differ",
    "compare": "which run was better, and why: curves, finals and differences of runs, or of a sweep, on one page",
    "sample": "let a trained model continue a prompt",
    "eval": "measure a checkpoint: the rows of its run, or benchmarks (task=[humaneval,mbpp])",
    "watch": "evaluate each new checkpoint of a running training; keep the best, stop it when it no longer improves",
    "leaderboard": "an evaluation as a submission to the Big Code leaderboard (--org, --model, --user)",
    "convert": "a checkpoint of the original system (matrices [in, out]) as a model of albor's: convert SRC DST",
    "verify": "whether a checkpoint or run is whole, was trained and converged",
    "monitor": "a run as it goes, or went: progress, curves, throughput, alerts, whether it lives (--once: as text)",
    "replay": "train up to a step again, beside the run, and say whether every bit is the same",
    "data": "rows of a packed corpus, decoded (inspect RUN), and what a corpus is made of (stats RUN)",
    "lsp": "completions in an editor, from a server that has a model: the language server that the editor starts",
    "doctor": "what this machine has and lacks",
    "falsify": "what the runs say of albor's predictions: corroborated, falsified or untested",
    "audit": "whether a model may be released: every check of a release, with its evidence and a grade",
    "card": "the card of a model: numbers, data, contracts, predictions, energy (--out DIR writes README.md)",
    "release": "cards and release notes of a ladder's rungs, or of RUN…: --out DIR, --since DIR compares with another",
    "lineage": "what a run was made from, down to the source archives (--down: what was made from it)",
    "drift": "artifacts, inputs and sources whose bytes are not those that were recorded: of all runs, or of RUN…",
    "gc": "what nothing refers to any more: shown, and freed with --yes; RUN… frees those and what only they needed",
}
FLAGS: dict[str, tuple[str, ...]] = {
    "plan": ("json", "strict"),
    "validate": ("json", "strict", "multirun"),
    "runs": ("json",),
    "contracts": ("json", "graph"),
    "fit": ("json", "tokens_per_step"),
    "compare": ("out", "markdown", "wandb", "baseline"),
    "sample": ("prompt", "suffix", "max_new_tokens", "temperature", "top_p", "seed"),
    "eval": ("strict",),
    "monitor": ("once",),
    "replay": ("step",),
    "data": ("split", "row", "rows", "all", "json"),
    "lsp": ("url", "model", "key_env"),
    "doctor": ("json",),
    "falsify": ("json", "out"),
    "audit": ("critical_only", "format", "out"),
    "leaderboard": ("org", "model", "user", "out"),
    "watch": ("metric", "patience", "every"),
    "convert": ("layout",),
    "lineage": ("full", "down", "svg", "json"),
    "drift": ("quick", "json"),
    "card": ("out", "licence"),
    "release": ("out", "since", "licence"),
    "gc": ("yes", "days", "keep_last", "down", "json"),
    "": ("multirun", "strict", "cfg", "validate_only", "fail_fast", "detach"),
}
"""Flags of each verb, beside --config-dir; "" is running a target."""

WORDS: dict[str, str] = {
    "ls": "[GROUP…]",
    "explain": "[KEY | CONTRACT | CODE]…",
    "contracts": "[CONTRACT…]",
    "runs": "[STAGE]",
    "diff": "RUN RUN",
    "compare": "[SWEEP | RUN…]",
    "sample": "RUN | DIR | FILE",
    "eval": "RUN | DIR",
    "watch": "RUN",
    "leaderboard": "RUN",
    "convert": "SRC DST",
    "verify": "RUN | DIR",
    "monitor": "RUN",
    "replay": "RUN",
    "data": "inspect RUN | stats RUN",
    "falsify": "[PREDICTION…]",
    "audit": "RUN",
    "card": "RUN",
    "release": "LADDER | RUN…",
    "lineage": "RUN",
    "drift": "[RUN…]",
    "gc": "[RUN…]",
}
"""Words of their own that verbs take, beside overrides: a group, a key, a run."""


@dataclass
class Arguments:
    """A parsed command line."""

    verb: str | None = None
    """What to do instead of making a target: a key of ``VERBS``."""
    words: list[str] = field(default_factory=list)
    """What is neither verb, flag nor override: a run, a key, a group."""
    overrides: tuple[str, ...] = ()
    """Choices of groups and values of keys, in Hydra's grammar."""
    config_dirs: tuple[str, ...] = ()
    """A directory of YAML laid out like conf/, which comes before albor's own; may be given again."""
    multirun: bool = False
    """Every combination of the values given with commas: a sweep."""
    strict: bool = False
    """Warnings refuse, too: exit code 2."""
    json: bool = False
    """Prints JSON instead of text."""
    cfg: str | None = None
    """Prints the composed config as YAML, and makes nothing."""
    graph: str | None = None
    """Draws what rests on what, in this form."""
    tokens_per_step: str | None = None
    """How many tokens a step of the optimizer should have, such as 128k."""
    prompt: list[str] = field(default_factory=list)
    """The text to continue; may be given again."""
    suffix: str | None = None
    """The text that follows: what is written fills the hole before it."""
    max_new_tokens: int = 64
    """How many tokens are written at most."""
    temperature: float = 0.2
    """Of sampling; 0 always takes the likeliest token."""
    top_p: float = 0.95
    """Samples from the likeliest tokens that together have this probability."""
    seed: int = 0
    """Of sampling."""
    split: str = "train"
    """The part of the corpus to look at."""
    row: int = 0
    """The first row to show, counted from 0."""
    rows: int = 1
    """How many rows to show."""
    all: bool = False
    """Every line of a long table, not only the largest."""
    once: bool = False
    """Prints the run once as text, and ends."""
    step: int | None = None
    """The step up to which to train again."""
    validate_only: bool = False
    """Runs the benchmarks' own solutions instead of a model."""
    fail_fast: bool = False
    """The first point of a sweep that fails ends the sweep."""
    detach: bool = False
    """Hands the points to the cluster, and ends."""
    critical_only: bool = False
    """Looks at the critical items alone."""
    format: str = "text"
    """How the result is written."""
    out: str | None = None
    """The file or directory to write to."""
    org: str | None = None
    """The organisation that submits."""
    metric: str | None = None
    """What is watched; val_ppl, unless given."""
    patience: int | None = None
    """Stops the training after so many checkpoints that were no better; without it nothing is stopped."""
    every: float = 5.0
    """Seconds between two looks at the run."""
    model: str | None = None
    """The model's name: of several that a server has, or in a submission."""
    user: str | None = None
    """Who submits."""
    url: str | None = None
    """The server's address."""
    key_env: str | None = None
    """The environment variable that holds the server's key."""
    layout: Literal["in_out", "out_in"] | None = None
    """How the checkpoint's matrices lie, where their shapes do not say it."""
    markdown: bool = False
    """Prints Markdown for a pull request, and writes nothing."""
    wandb: bool = False
    """Makes a report in Weights & Biases beside the page."""
    baseline: str | None = None
    """The run whose config the others are compared with, instead of the best."""
    full: bool = False
    """Whole digests, every archive and package."""
    down: bool = False
    """What was made from it: shown instead of what it was made from (lineage), freed too (gc)."""
    svg: str | None = None
    """Draws it into this file."""
    quick: bool = False
    """Goes by names and sizes, and hashes nothing."""
    since: str | None = None
    """The directory of an earlier release to compare with."""
    licence: str | None = None
    """The licence of the weights, by the Hub's key: apache-2.0, mit, other."""
    yes: bool = False
    """Frees what is shown."""
    days: float = 30.0
    """How many days without a sign of life make a run old."""
    keep_last: int | None = None
    """How many of a finished run's checkpoints stay, instead of trainer.keep_last."""


PLAINLY = {
    ": invalid int value: ": " takes a whole number, not ",
    ": invalid float value: ": " takes a number, not ",
    ": invalid choice: ": " has no choice ",
    ": expected one argument": " takes a value, and none was given",
    ": ignored explicit argument ": " takes no value, not ",
}
"""What argparse says, in plain words."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        cause = message.removeprefix("argument ")
        for theirs, ours in PLAINLY.items():
            cause = cause.replace(theirs, ours, 1)
        raise bad(cause, f"`{self.prog} --help` says what it takes")


def bad(cause: str, fix: str | None) -> ConfigRefused:
    return ConfigRefused([Problem("E-OVERRIDE", "command line", cause, fix)])


def parser(prog: str = "albor") -> Parser:
    p = Parser(prog=prog, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    p.add_argument("--config-dir", "-cd", action="append", dest="config_dirs", metavar="DIR")
    p.add_argument("--multirun", "-m", action="store_true")
    p.add_argument("--strict", action="store_true")
    p.add_argument("--json", action="store_true")
    p.add_argument("--cfg", "-c", choices=("job",))
    p.add_argument("--graph", choices=("mermaid", "svg"))
    p.add_argument("--tokens-per-step", metavar="NUMBER")
    p.add_argument("--prompt", action="append", metavar="TEXT")
    p.add_argument("--suffix", metavar="TEXT")
    p.add_argument("--max-new-tokens", type=int, metavar="NUMBER")
    p.add_argument("--temperature", type=float, metavar="NUMBER")
    p.add_argument("--top-p", type=float, metavar="NUMBER")
    p.add_argument("--seed", type=int, metavar="NUMBER")
    p.add_argument("--split", choices=("train", "val"))
    p.add_argument("--row", type=int, metavar="NUMBER")
    p.add_argument("--rows", type=int, metavar="NUMBER")
    p.add_argument("--all", action="store_true")
    p.add_argument("--once", action="store_true")
    p.add_argument("--step", type=int, metavar="NUMBER")
    p.add_argument("--validate-only", action="store_true")
    p.add_argument("--fail-fast", action="store_true")
    p.add_argument("--detach", action="store_true")
    p.add_argument("--critical-only", action="store_true")
    p.add_argument("--format", choices=("text", "json", "github", "markdown"))
    p.add_argument("--out", metavar="PATH")
    p.add_argument("--org", metavar="NAME")
    p.add_argument("--metric", metavar="NAME")
    p.add_argument("--patience", type=int, metavar="NUMBER")
    p.add_argument("--every", type=float, metavar="NUMBER")
    p.add_argument("--model", metavar="NAME")
    p.add_argument("--user", metavar="NAME")
    p.add_argument("--url", metavar="URL")
    p.add_argument("--key-env", metavar="NAME")
    p.add_argument("--layout", choices=("in_out", "out_in"))
    p.add_argument("--markdown", action="store_true")
    p.add_argument("--wandb", action="store_true")
    p.add_argument("--baseline", metavar="RUN")
    p.add_argument("--full", action="store_true")
    p.add_argument("--down", action="store_true")
    p.add_argument("--svg", metavar="FILE")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--since", metavar="DIR")
    p.add_argument("--licence", metavar="NAME")
    p.add_argument("--yes", action="store_true")
    p.add_argument("--days", type=float, metavar="NUMBER")
    p.add_argument("--keep-last", type=int, metavar="NUMBER")
    return p


def is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def parse_arguments(argv: list[str]) -> Arguments:
    """Raises ConfigRefused when a word is neither verb, flag nor override."""
    command = " ".join(["albor", *[word for word in argv if word in VERBS][:1]])
    known, rest = parser(command).parse_known_args(argv)
    given = vars(known)
    for word in rest:
        if word.startswith("-") and not is_override(word):
            flags = {flag.replace("_", "-") for known in FLAGS.values() for flag in known}
            guess = nearest(word, [f"--{flag}" for flag in ("config-dir", "help", "version", *sorted(flags))])
            raise bad(f"{word} is not a flag", f"did you mean {guess}?" if guess else f"`{command} --help` lists them")
    words = [w for w in rest if not is_override(w)]
    verb = words.pop(0) if words and words[0] in VERBS else None
    if verb is None and words:
        guess = nearest(words[0], VERBS)
        fix = f"did you mean `albor {guess}`?" if guess else f"the verbs are {', '.join(VERBS)}"
        raise bad(f"'{words[0]}' is neither a verb nor an override KEY=VALUE", fix)
    if words and verb not in WORDS:
        raise bad(f"`albor {verb}` takes no word '{words[0]}'", "what it is about is given by overrides: KEY=VALUE")
    overrides = tuple(w for w in rest if is_override(w))
    for flag in given:
        if flag != "config_dirs" and flag not in FLAGS.get(verb or "", ()):
            what = f"`albor {verb}`" if verb else "running a target"
            raise bad(f"--{flag.replace('_', '-')} does not go with {what}", f"`{command} --help` lists what does")
    given["config_dirs"] = tuple(given.get("config_dirs", ()))
    return Arguments(verb=verb, words=words, overrides=overrides, **given)
