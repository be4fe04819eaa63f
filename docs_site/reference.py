"""The reference, read off the code: keys, stages, groups, contracts, commands, errors. A text that is missing there
fails the build (MissingText)."""

from __future__ import annotations

import itertools
from collections import defaultdict
from functools import cache
from pathlib import Path

from albor.cli.arguments import FLAGS, VERBS, Arguments
from albor.cli.help import DETAILS, option, usage
from albor.cli.verbs.explain import show
from albor.config.docstrings import field_docs
from albor.config.location import conf_directory, search_directories, yaml_files
from albor.config.problems import CODES
from albor.contracts import CONTRACTS, LEVELS, RULES, Contract, Kernel, Rule
from albor.contracts.base import RECOVERY
from albor.contracts.evidence import Evidence, checkout, stated
from albor.errors import INTERRUPTED
from albor.plan.keys import walk
from albor.stages import base as stages
from docs_site.keys import GENERAL, key_entries, key_page, key_pages
from docs_site.markdown import anchor, cell, table, text
from docs_site.messages import UNKNOWN, messages

EXITS = {
    0: "Done, or there was nothing to do. Warnings do not change it; with `--strict` they make it 2.",
    1: "It failed while running, or a check found something: a prediction that is falsified, a run that drifted, a "
    "model that may not be released.",
    2: "You must change something: a key, a value, a contract that refuses. Nothing was started.",
    INTERRUPTED: "Interrupted with its work saved. The same command goes on from there.",
}


def pages() -> dict[str, str]:
    """Place to Markdown of every page of the reference."""
    return {
        "reference/index.md": index(),
        "reference/commands.md": commands(),
        "reference/groups.md": groups(),
        "reference/stages.md": stage_page(),
        "reference/contracts.md": contracts(),
        "reference/errors.md": errors(),
        **{place: key_page(section, found) for place, (section, found) in key_pages().items()},
    }


def index() -> str:
    keys = sum(len({k.path for k in found}) for _, found in key_pages().values())
    rows = [
        ["[Commands](commands.md)", f"{len(VERBS)} verbs and their flags"],
        ["[Groups](groups.md)", f"{len(choices())} groups and their {sum(map(len, choices().values()))} choices"],
        [f"[Keys](keys/{GENERAL}.md)", f"{keys} keys of the config: type, range, default, who reads them"],
        ["[Stages](stages.md)", f"{len(stages.names())} stages: what they make, what they read, and their own keys"],
        ["[Contracts](contracts.md)", f"{len(RULES)} contracts: rule, messages, how surely they are known"],
        ["[Errors and exit codes](errors.md)", f"{len(CODES)} codes of errors, {len(EXITS)} of exits"],
    ]
    about = "Every page here is made of the code while the site is built: what it says is what this version does. On "
    about += "the command line `albor explain NAME`, `albor ls GROUP` and `albor VERB --help` say the same."
    return f"# Reference\n\n{about}\n\n{table(['', ''], rows)}\n"


# Stages


def stage_page() -> str:
    blocks = [
        "# Stages",
        "A stage makes one artifact of a config and of other stages' artifacts. `stage=NAME` makes it the target, "
        "`up.NAME.KEY=…` speaks of it where it is upstream, `inputs.NAME=RUN` gives it an input. A stage can read "
        "nothing of the config but what is listed here: that, its version and its inputs are what a run's id is made "
        "of.",
    ]
    for name in stages.names():
        stage = stages.find(name)
        said = text(about(conf_directory() / "stage" / f"{name}.yaml"), f"conf/stage/{name}.yaml")
        facts = [["makes", stage.makes], ["version", str(stage.version)]]
        if stage.reads:
            facts.append(["reads", ", ".join(f"[`{r}`]({key_link(r)})" for r in stage.reads)])
        ways = {
            "each time it is asked for": stage.action,
            "on the trainer's devices, a process each": stage.distributed,
            "on the trainer's device": stage.accelerated and not stage.distributed,
        }
        if runs := [words for words, holds in ways.items() if holds]:
            facts.append(["runs", "; ".join(runs)])
        if stage.resumable:
            facts.append(["interrupted", "goes on from its own directory"])
        own = [k for k in walk(stage.config, "stage.") if k.path != "stage.name"]
        blocks += [f"## {name} {{: #{name} }}", cell(said), table(["", ""], facts)]
        blocks += [entry.replace(": #stage", f": #{name}-stage") for entry in key_entries(own, None)]
    return "\n\n".join(blocks) + "\n"


def key_link(path: str) -> str:
    """The page of a key or section, seen from the other pages of the reference."""
    section, _, rest = path.partition(".")
    if path in stages.DERIVED:
        path = stages.DERIVED[path][0]
    pages_ = {name: place for place, (name, _) in key_pages().items()}
    if section not in pages_:
        return f"keys/{GENERAL}.md#{anchor(path)}"
    known = {key.path for key in key_pages()[pages_[section]][1]}
    return f"keys/{section}.md" + (f"#{anchor(path)}" if rest and path in known else "")


# Groups


@cache
def choices() -> dict[str, dict[str, Path]]:
    """Group to choice to file."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for directory in reversed(search_directories(())):
        for group, choice, path in yaml_files(directory):
            found[group][choice] = path
    return dict(sorted(found.items()))


def about(path: Path) -> str:
    """The whole of the comment that a YAML begins with, whose first line is shown elsewhere."""
    lines = path.read_text(encoding="utf-8").splitlines()
    head = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("# ") for line in head if not line.startswith("# @"))


def groups() -> str:
    blocks = [
        "# Groups and choices",
        "`GROUP=CHOICE` on the command line takes a choice; a directory of yours, given by `--config-dir`, adds "
        "choices of its own. Below each table are the files, which hold only what differs from the schema's defaults.",
    ]
    for group, found in choices().items():
        rows = [[f"`{group}={name}`", cell(text(about(path), str(path)))] for name, path in found.items()]
        blocks += [f"## {group} {{: #{anchor(group)} }}", table(["", ""], rows)]
        for name, path in found.items():
            yaml = path.read_text(encoding="utf-8").rstrip().replace("\n", "\n    ")
            blocks.append(f'??? note "{group}/{name}.yaml"\n\n    ```yaml\n    {yaml}\n    ```')
    return "\n\n".join(blocks) + "\n"


# Contracts


def contracts() -> str:
    root = checkout()
    tests: dict[str, list[Evidence]] = defaultdict(list)
    for one in stated(root) if root else []:
        tests[one.contract].append(one)
    blocks = [
        "# Contracts",
        "What must hold before compute is spent, and what albor's own arithmetic keeps. "
        "[Contracts](../contracts.md) says how they are checked and tested, `albor contracts` how their tests ended. "
        "An ellipsis in a message stands for what the config says.",
        table(["level", ""], [[str(level), cell(about)] for level, about in LEVELS.items()]),
    ]
    blocks += [contract(rule, tests[rule.id]) for rule in RULES.values()]
    return "\n\n".join(blocks) + "\n"


def contract(rule: Rule, tests: list[Evidence]) -> str:
    facts = [["rule", cell(text(rule.formula, rule.id))], ["level", f"{rule.level}"]]
    if rule.history:
        facts.append(["history", cell(rule.history)])
    if rule.needs:
        facts.append(["needs", ", ".join(f"[{need}](#{need.lower()})" for need in rule.needs)])
    blocks = [f"## {rule.id} {{: #{rule.id.lower()} }}", f"**{cell(text(rule.title, rule.id))}.**"]
    if isinstance(rule, Kernel):
        facts.append(["kept by", f"`{rule.where}`"])
    elif isinstance(rule, Contract):
        facts.append(["stages", ", ".join(link_of(name) for name in rule.stages)])
    blocks.append(table(["", ""], facts))
    if rule.id in CONTRACTS:
        found = messages(CONTRACTS[rule.id].check)
        text("".join(m.text for m in found), f"a message of {rule.id}")
        rows = [
            [m.severity if m.severity != UNKNOWN else "either", f"`{m.path}`", cell(m.text), cell(m.help)]
            for m in found
        ]
        blocks.append(table(["", "where", "message", "help"], rows))
    by_file: dict[str, list[str]] = defaultdict(list)
    for one in tests:
        file, _, name = one.test.partition("::")
        by_file[file].append(f"`{name}`")
    listed = [f"    - `{file}`: {', '.join(dict.fromkeys(names))}" for file, names in by_file.items()]
    text("".join(listed), f"the tests of {rule.id}")
    blocks.append("\n".join(['??? note "Its tests"\n', *listed]))
    return "\n\n".join(blocks)


def link_of(stage: str) -> str:
    return "[prune](stages.md#prune) (its recovery)" if stage == RECOVERY else f"[{stage}](stages.md#{stage})"


# Commands and errors


def commands() -> str:
    blocks = [
        "# Commands",
        "`albor [VERB] [GROUP=CHOICE …] [KEY=VALUE …] [FLAGS]`, or `python -m albor …`. Without a verb the target is "
        "made. Overrides are [Hydra's](https://hydra.cc/docs/advanced/override_grammar/basic/); its own flags `--cfg "
        "job`, `--info`, `--hydra-help` and `-sc install=bash` work as ever.",
        "## albor {: #run }",
        "Makes a target: what is missing or stale is built, what is done is left alone.",
        flags(""),
    ]
    for verb, about in VERBS.items():
        blocks += [f"## {verb}", f"{cell(text(about, verb))[0].upper()}{cell(about)[1:]}.", f"```\n{usage(verb)}\n```"]
        blocks += [flags(verb), DETAILS.get(verb, "").strip()]
    return "\n\n".join(block for block in blocks if block) + "\n"


def flags(verb: str) -> str:
    texts, defaults = field_docs(Arguments), Arguments()
    rows = []
    for name in (*FLAGS.get(verb, ()), "config_dirs"):
        default = getattr(defaults, name)
        known = f" Default {show(default)}." if default not in (None, False, [], ()) else ""
        rows.append([f"`{option(name)}`".replace("|", " | "), cell(text(texts.get(name, ""), name) + known)])
    return table(["flag", ""], rows)


def errors() -> str:
    exits = [[str(code), about] for code, about in EXITS.items()]
    codes = [[f"`{code}`", cell(text(about, code))] for code, about in CODES.items()]
    return (
        "\n\n".join(
            [
                "# Errors and exit codes",
                "An error says a code, a place (a file and line, or the override), a cause, and mostly what helps, "
                "without a traceback. Where a contract refuses, its id is the code: [contracts](contracts.md).",
                "## Exit codes",
                table(["code", ""], exits),
                "## Codes of errors",
                table(["code", ""], codes),
            ]
        )
        + "\n"
    )
