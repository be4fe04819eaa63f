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

WORDS = (
    *("ls", "explain", "contracts", "runs", "diff", "sample", "eval", "verify", "monitor", "replay", "data"),
    *("falsify", "audit", "leaderboard", "watch", "convert", "compare", "lineage", "drift", "gc", "card", "release"),
)
"""Verbs that take words of their own: a group, a key, a run."""


@dataclass
class Arguments:
    """A parsed command line."""

    verb: str | None = None
    words: list[str] = field(default_factory=list)
    """What is neither verb, flag nor override: a run, a key, a group."""
    overrides: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    multirun: bool = False
    strict: bool = False
    json: bool = False
    cfg: str | None = None
    graph: str | None = None
    tokens_per_step: str | None = None
    prompt: list[str] = field(default_factory=list)
    suffix: str | None = None
    max_new_tokens: int = 64
    temperature: float = 0.2
    top_p: float = 0.95
    seed: int = 0
    split: str = "train"
    row: int = 0
    rows: int = 1
    all: bool = False
    once: bool = False
    step: int | None = None
    validate_only: bool = False
    fail_fast: bool = False
    detach: bool = False
    critical_only: bool = False
    format: str = "text"
    out: str | None = None
    org: str | None = None
    metric: str | None = None
    patience: int | None = None
    every: float = 5.0
    model: str | None = None
    user: str | None = None
    url: str | None = None
    key_env: str | None = None
    layout: Literal["in_out", "out_in"] | None = None
    markdown: bool = False
    wandb: bool = False
    baseline: str | None = None
    full: bool = False
    down: bool = False
    svg: str | None = None
    quick: bool = False
    since: str | None = None
    licence: str | None = None
    yes: bool = False
    days: float = 30.0
    keep_last: int | None = None


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise bad(message, "`albor --help` shows the grammar")


def bad(cause: str, fix: str | None) -> ConfigRefused:
    return ConfigRefused([Problem("E-OVERRIDE", "command line", cause, fix)])


def parser() -> Parser:
    p = Parser(prog="albor", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    p.add_argument("--config-dir", "-cd", action="append", dest="config_dirs")
    p.add_argument("--multirun", "-m", action="store_true")
    p.add_argument("--strict", action="store_true")
    p.add_argument("--json", action="store_true")
    p.add_argument("--cfg", "-c", choices=("job",))
    p.add_argument("--graph", choices=("mermaid", "svg"))
    p.add_argument("--tokens-per-step")
    p.add_argument("--prompt", action="append")
    p.add_argument("--suffix")
    p.add_argument("--max-new-tokens", type=int)
    p.add_argument("--temperature", type=float)
    p.add_argument("--top-p", type=float)
    p.add_argument("--seed", type=int)
    p.add_argument("--split", choices=("train", "val"))
    p.add_argument("--row", type=int)
    p.add_argument("--rows", type=int)
    p.add_argument("--all", action="store_true")
    p.add_argument("--once", action="store_true")
    p.add_argument("--step", type=int)
    p.add_argument("--validate-only", action="store_true")
    p.add_argument("--fail-fast", action="store_true")
    p.add_argument("--detach", action="store_true")
    p.add_argument("--critical-only", action="store_true")
    p.add_argument("--format", choices=("text", "json", "github", "markdown"))
    p.add_argument("--out")
    p.add_argument("--org")
    p.add_argument("--metric")
    p.add_argument("--patience", type=int)
    p.add_argument("--every", type=float)
    p.add_argument("--model")
    p.add_argument("--user")
    p.add_argument("--url")
    p.add_argument("--key-env")
    p.add_argument("--layout", choices=("in_out", "out_in"))
    p.add_argument("--markdown", action="store_true")
    p.add_argument("--wandb", action="store_true")
    p.add_argument("--baseline")
    p.add_argument("--full", action="store_true")
    p.add_argument("--down", action="store_true")
    p.add_argument("--svg")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--since")
    p.add_argument("--licence")
    p.add_argument("--yes", action="store_true")
    p.add_argument("--days", type=float)
    p.add_argument("--keep-last", type=int)
    return p


def is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def parse_arguments(argv: list[str]) -> Arguments:
    """Raises ConfigRefused when a word is neither verb, flag nor override."""
    known, rest = parser().parse_known_args(argv)
    given = vars(known)
    for word in rest:
        if word.startswith("-") and not is_override(word):
            flags = {flag.replace("_", "-") for known in FLAGS.values() for flag in known}
            guess = nearest(word, [f"--{flag}" for flag in ("config-dir", "help", "version", *sorted(flags))])
            raise bad(f"{word} is not a flag", f"did you mean {guess}?" if guess else "`albor --help` lists them")
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
            raise bad(f"--{flag.replace('_', '-')} does not go with {what}", None)
    given["config_dirs"] = tuple(given.get("config_dirs", ()))
    return Arguments(verb=verb, words=words, overrides=overrides, **given)
