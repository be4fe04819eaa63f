"""Every command that a page shows is one: cheap ones run, the others are planned with the same overrides."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from albor.cli.arguments import VERBS, WORDS, Arguments, parse_arguments
from albor.config.location import conf_directory, options
from albor.config.problems import ConfigRefused
from albor.plan.keys import entry_keys, generic, keys
from albor.stages import base as stages
from tests.conftest import Outcome
from tests.docs.pages import PAGES, ROOT, Command, blocks, commands, inline

CHEAP = ("ls", "explain", "contracts", "fit", "gc", "drift", "runs")
"""Verbs that are run as they stand, in a directory without runs."""
MEASURES = ("eval", "watch", "card")
"""Verbs that take the overrides of a target beside a run."""
NAMED = ("RUN", "DIR", "path/to/hf-checkpoint", "models/mine")
"""Stand for a run, or a directory of a model."""
known: dict[tuple[str, ...], Outcome] = {}
"""What commands came to that several pages show."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory in which what pages speak of is there."""
    for name in NAMED:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "benchmarks").mkdir()
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_are_commands(page: str, place: Path, albor: Callable[..., Outcome]) -> None:
    for block in blocks(page):
        if block.title:
            (place / block.title).parent.mkdir(parents=True, exist_ok=True)
            (place / block.title).write_text(block.text)
    wrong, seen = [], set[tuple[str, ...]]()
    for command in commands(page):
        if command.words not in seen:
            seen.add(command.words)
            why = of_albor(command, albor) if command.albor is not None else of_others(command)
            wrong += [f"{command}\n{why}"] if why else []
    assert not wrong, "\n\n".join(wrong)


def test_the_experiment_of_the_tutorial_trains_as_long_as_it_says(
    tmp_path: Path, albor: Callable[..., Outcome]
) -> None:
    file = "mine/experiment/short.yaml"
    (block,) = (block for block in blocks("docs/tutorial.md") if block.title == file)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(block.text)
    given = [c for c in commands("docs/tutorial.md") if "experiment=short" in c.words]
    assert given
    for command in given:
        assert re.search("steps +500 ", albor(*(command.albor or ())).out), command


def of_albor(command: Command, albor: Callable[..., Outcome]) -> str | None:
    """Why a command of albor's is wrong, or None. A block that shows an error is of a command that is refused."""
    assert command.albor is not None
    try:
        if {"--help", "--version", "-sc"} & set(command.albor):
            return None
        given = parse_arguments([*command.albor])
    except ConfigRefused as refused:
        return str(refused)
    wanted = 2 if "error[" in command.block.text else 0
    words = substitute(given)
    if words is None:
        return words_missing(given)
    done = known.get(words) or albor(*words)
    if not given.config_dirs:
        known[words] = done
    return None if done.code == wanted else f"albor {' '.join(words)}: {done.code}, not {wanted}\n{done.text[-1500:]}"


def substitute(given: Arguments) -> tuple[str, ...] | None:
    """The cheap command that takes the same overrides; None where there are none to check."""
    dirs = [word for path in given.config_dirs for word in ("--config-dir", path)]
    if (given.verb in CHEAP and not set(given.words) - {"model", "trainer"} - set(VERBS)) or given.verb in (
        "ls",
        "explain",
    ):
        return tuple(word for word in (given.verb, *given.words, *given.overrides, *dirs) if word)
    own = [text for text in given.overrides if not text.startswith("outputs=")]
    if given.verb in MEASURES:
        return ("plan", "stage=eval", "inputs.model=RUN", *own, *dirs)
    if given.verb not in (None, "plan", "validate", "fit"):
        return None if not own or given.verb == "falsify" else ("plan", *own, *dirs)
    if given.verb == "validate" and not own:
        return None
    if given.multirun:
        return ("validate", "-m", *own, *dirs)
    return ("plan", *own, *dirs)


def words_missing(given: Arguments) -> str | None:
    """Whether a verb lacks the words that it takes."""
    needs = not WORDS.get(given.verb or "", "[").startswith("[")
    return f"`albor {given.verb}` takes {WORDS[given.verb or '']}" if needs and not given.words else None


def of_others(command: Command) -> str | None:
    """Why a command of another program is wrong, as far as it speaks of this repository."""
    words = command.words
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return None if set(words[1:]) <= {*targets} else f"the targets are {targets}"
    if words[:2] == ("python", "-m"):
        return None if importlib.util.find_spec(words[2]) else "there is no such module"
    if words[:2] == ("pip", "install"):
        extras = re.findall(r"^([a-z]+) = \[$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        asked = re.findall(r"albor\[(\w+)\]", words[2])
        return None if set(asked) <= {*extras} else f"the extras are {extras}"
    files = [word for word in words if word.startswith(("editors/", "docs/", "bench/", "tests/"))]
    absent = [file for file in files if not (ROOT / file).exists()]
    return f"not there: {absent}" if absent else None


GROUPS = options([conf_directory()])
TOP = {path.partition(".")[0] for path in keys()} | {"up", "inputs", "hydra"}
PLACEHOLDER = re.compile(r"[A-Z]{2,}|…|\bN\b")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_settings_in_its_sentences_are_real(page: str) -> None:
    wrong = []
    for code in inline(page):
        words = code.removeprefix("python -m ").split(" ")
        if words[0] == "albor" and len(words) > 1 and words[1].isalpha() and words[1] not in VERBS:
            wrong.append(f"{code}: no verb")
        if words[0] == "albor" and len(words) > 1 and "…" not in code:
            try:
                parse_arguments(["1" if word == "N" else word for word in words[1:] if word != "--help"])
            except ConfigRefused as refused:
                wrong.append(f"{code}: {refused}")
        wrong += [f"{code}: {why}" for word in words if (why := setting(word.strip("'\",")))]
    assert not wrong, "\n".join(wrong)


def setting(word: str) -> str | None:
    """Why GROUP=CHOICE or KEY=VALUE is wrong; None for all other words."""
    key, equals, value = word.partition("=")
    key = key.lstrip("+~")
    if not equals or not re.fullmatch(r"[a-z_][\w./]*", key) or PLACEHOLDER.search(key):
        return None
    if key in GROUPS and re.fullmatch(r"[\w/]+", value) and not PLACEHOLDER.search(value):
        return None if value in (*GROUPS[key], "null") or value in MADE_UP else f"{key} has no choice {value}"
    top, *rest = key.split(".")
    if top == "up" and rest:
        top, key = (rest[1] if len(rest) > 1 else "seed"), ".".join(rest[1:]) or "seed"
    if not rest or top in ("inputs", "hydra", "task", "up") or top not in TOP:
        return None
    known = {**keys(), **entry_keys()}
    sections = {path.rsplit(".", n)[0] for path in known for n in range(1, path.count(".") + 1)}
    return None if key in known or generic(key) in known or key in sections else f"there is no key {key}"


MADE_UP = ("mine", "25m", "NAME", "count", "l4", "short")
"""Choices that pages tell their reader to make."""


def test_the_checks_find_what_is_wrong(albor: Callable[..., Outcome], tmp_path: Path) -> None:
    assert setting("trainer.max_step=1") and setting("prune=wander") and setting("up.distill.distill.alfa=0")
    assert not setting("prune=wanda") and not setting("up.distill.distill.alpha=0") and not setting("a=b")
    block = next(blocks("README.md"))
    for words in (
        ("albor", "plam"),
        ("albor", "plan", "stage=pretrian"),
        ("albor", "sample"),
        ("albor", "ls", "--out", "x"),
    ):
        assert of_albor(Command(words, block), albor), words
    for words in (
        ("make", "domo"),
        ("python", "-m", "bench.nothing"),
        ("pip", "install", "albor[nothing]"),
        ("bash", "editors/no.sh"),
    ):
        assert of_others(Command(words, block)), words
    assert len(stages.names()) > 10
