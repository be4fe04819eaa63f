"""Composing from a user's own files: what was merged, where it came from, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from albor.config.compose import Composer
from albor.config.location import conf_directory, short
from albor.config.problems import ConfigRefused, Problem

from .conftest import HEAD, Write


def refusal(composer: Composer, **choices: str) -> Problem:
    with pytest.raises(ConfigRefused) as refused:
        composer.compose(choices)
    (problem,) = refused.value.problems
    return problem


def models(composer: Composer) -> str:
    return ", ".join(composer.groups["model"])


def test_a_bad_choice_is_told_the_nearest_and_all_of_them(write: Write) -> None:
    composer = write({"model/own": ""})
    assert models(composer) == "125m, 350m, 50m, own, small, tiny"
    cause, listed = "'{}' is not a choice of model", f"he choices are {models(composer)}"
    assert composer.bad_choice("model", "tinny", "override model=tinny") == Problem(
        "E-CHOICE", "model", cause.format("tinny"), f"did you mean `model=tiny`? T{listed}", "override model=tinny"
    )
    assert composer.bad_choice("model", "zzzzzzz", None) == Problem(
        "E-CHOICE", "model", cause.format("zzzzzzz"), f"t{listed}", None
    )


@pytest.mark.parametrize(
    ("text", "choice", "line"),
    [
        ("defaults:\n  - override /model: gone\n", "gone", 3),
        ("defaults:\n  - override /data: stdlib\n  - override /model: 'gone'   # why\n", "gone", 4),
        ('defaults: \n  - /model@model.x: gone\n  - override /model: "gone"', "gone", 4),
        ("# model: goXne, model: go.ne-1\ndefaults:\n  - override /model: go.ne # not goXne\n", "go.ne", 4),
        ("#model: gone\na: 1 # model: gone\ndefaults: [override /model: gone]\n", "gone", 4),
        ("defaults: [{override /model: gone}, override /optim: muon]\n", "gone", 2),
    ],
)
def test_a_choice_that_is_not_there_is_found_in_the_file_that_asks_for_it(
    write: Write, text: str, choice: str, line: int
) -> None:
    composer = write({"experiment/mine": HEAD + text})
    place = f"own/experiment/mine.yaml:{line}"
    # Whatever else is chosen, by a file or not: the file that asks is looked for among all.
    for others in ({}, {"data": "stdlib", "task": "[humaneval]", "optim": "muon"}):
        assert refusal(composer, experiment="mine", **others) == composer.bad_choice("model", choice, place)


def test_a_choice_asked_for_in_a_file_between_is_named_by_that_file(write: Write) -> None:
    composer = write({"model/mine": "defaults: [gone]\n", "experiment/deep/er": HEAD + "defaults: [/model/nope]\n"})
    assert refusal(composer, model="mine") == composer.bad_choice("model", "gone", "own/model/mine.yaml")
    found = refusal(composer, experiment="deep/er")
    assert found == composer.bad_choice("model", "nope", "own/experiment/deep/er.yaml")
    found = refusal(composer, model="nope")
    assert found == composer.bad_choice("model", "nope", short(conf_directory() / "config.yaml"))


@pytest.mark.parametrize(
    ("text", "place", "cause", "fix", "named"),
    [
        ("defaults: [/nope/x]", "nope/x", "there is no config 'nope/x'", "correct the defaults list", True),
        (
            "defaults: [override /modle: tiny]",
            "composition",
            "In 'experiment/in/er': Could not override 'modle'. No match in the defaults list.",
            "correct the file",
            True,
        ),
        (
            "defaults: [{a: b, c: d}]",
            "composition",
            "In experiment/in/er: Too many keys in default item {'a': 'b', 'c': 'd'}",
            "correct the file",
            True,
        ),
        (
            "data: [1]",
            "composition",
            "In 'experiment/in/er': ConfigTypeError raised while composing config: "
            "Cannot merge DictConfig with ListConfig",
            "correct the file",
            True,
        ),
        (
            "defaults: [_self_, _self_]",
            "composition",
            "Duplicate _self_ defined in experiment/in/er",
            "correct the file",
            True,
        ),
        (
            "defaults: [{model: [1]}]",
            "composition",
            "Unsupported item value in defaults : int, nested list items must be strings",
            "correct the file",
            False,
        ),
    ],
)
def test_a_defaults_list_that_cannot_be_followed_is_refused(
    write: Write, text: str, place: str, cause: str, fix: str, named: bool
) -> None:
    composer = write({"experiment/in/er": HEAD + text})
    origin = "own/experiment/in/er.yaml" if named else None
    assert refusal(composer, experiment="in/er") == Problem("E-YAML", place, cause, fix, origin)


def test_a_file_that_hydra_names_and_nobody_has_is_named_all_the_same(write: Write) -> None:
    composer = write({"model/own": ""})
    assert composer._named_file("In 'model/own': cause") == "own/model/own.yaml"
    assert composer._named_file("within 'model/own'") is None
    assert composer._named_file("cause in 'gone/x'") == "gone/x.yaml"
    assert composer._named_file("in 'config': cause") == short(conf_directory() / "config.yaml")
    assert composer._named_file("nothing in particular") is None


def test_the_users_file_comes_before_ours(write: Write, tmp_path: Path) -> None:
    composer = write({"model/tiny": "name: mine\n"})
    assert composer.directories == [tmp_path / "own", conf_directory(), conf_directory() / "_sweeps"]
    assert composer.file("model", "tiny") == tmp_path / "own/model/tiny.yaml"
    assert composer.file("model", "50m") == conf_directory() / "model/50m.yaml"
    assert composer.file("model", "gone") is None
    assert composer.file("", "config") == conf_directory() / "config.yaml"
    assert composer.compose({}).tree["model"] == {"name": "mine", "vocab_size": 8192}


def names(files: set[Path]) -> set[str]:
    return {"/".join(f.with_suffix("").parts[-2:]) for f in files}


def test_the_files_that_choices_use_are_those_merged(write: Write) -> None:
    composer = write({"experiment/mine": HEAD + "defaults: [override /model: small]\n", "experiment/deep/er": HEAD})
    plain = names(composer.used([]))
    assert plain >= {"model/tiny", "data/stdlib", "stage/ladder", "task/samples"} and "conf/config" not in plain
    assert names(composer.used(["model=50m"])) >= {"model/50m", "tokenizer/bpe_32k", "hardware/h200"}
    mine = names(composer.used(["experiment=mine"]))
    assert mine >= {"experiment/mine", "model/small"} and "model/tiny" not in mine
    assert "deep/er" in names(composer.used(["experiment=deep/er"]))


def test_the_files_that_refused_choices_use_are_those_chosen(write: Write, tmp_path: Path) -> None:
    composer = write({"model/bad": "defaults: [gone]\n", "model/a=b": "defaults: [gone]\n"})
    data = conf_directory() / "data/stdlib.yaml"
    assert composer.used(["model=bad", "data=stdlib"]) == {tmp_path / "own/model/bad.yaml", data}
    assert composer.used(["model=gone", "data=stdlib"]) == {data}
    assert composer.used(["model=gone"]) == set()
    assert composer.used(["model=a=b"]) == {tmp_path / "own/model/a=b.yaml"}


def test_what_a_file_chose_is_told_from_what_was_given(write: Write) -> None:
    composer = write({"experiment/mine": HEAD + "defaults: [override /model: small, override /optim: muon]\n"})
    composed = composer.compose({"experiment": "mine", "optim": "adamw", "data": None})
    assert composed.choices["model"] == "small" and composed.choices["optim"] == "adamw"
    assert composed.choices["data"] == "stdlib" and composed.choices["debug"] is None
    assert "model" in composed.overridden and not {"optim", "data"} & composed.overridden
    assert "sweep" in composed.hydra and "hydra" not in composed.tree
    assert composer.compose({"data": None, "optim": "adamw", "experiment": "mine"}) is composed
    assert composer.compose({"experiment": "mine", "optim": "adamw", "stage": "ladder"}) is composed


def test_siblings_share_a_tree_only_where_stages_are_their_own_section_alone(write: Write) -> None:
    composer = write(
        {
            "stage/mine": "name: mine\nsize: 1\n",
            "stage/wide": HEAD + "stage: {name: wide}\nseed: 5\n",
            "stage/heir": "defaults: [mine]\nname: heir\n",
        }
    )
    report = composer.compose({"stage": "report"})
    mine = composer.compose({"stage": "mine"})
    assert mine.tree["model"] is report.tree["model"] and mine.tree["stage"] == {"name": "mine", "size": 1}
    assert mine.choices == report.choices | {"stage": "mine"} and mine.hydra is report.hydra
    paths = [d.config_path for d in mine.merged]
    assert paths == [f"stage/{'mine'}" if d.config_path == "stage/report" else d.config_path for d in report.merged]
    wide, heir = composer.compose({"stage": "wide"}), composer.compose({"stage": "heir"})
    assert wide.tree["seed"] == 5 and wide.tree["model"] is not report.tree["model"]
    assert heir.tree["stage"] == {"name": "heir", "size": 1} and heir.tree["model"] is not report.tree["model"]
    again = composer.compose({"stage": "pack"})
    assert again.tree["model"] is report.tree["model"] and "seed" not in again.tree
    assert composer.compose({"stage": "pack", "model": "small"}).tree["model"]["name"] == "small"
    assert refusal(composer, stage="gone").path == "stage"


@pytest.mark.parametrize("group", ["experiment", "debug"])
def test_no_tree_is_shared_where_another_file_may_set_keys_of_the_stage(write: Write, group: str) -> None:
    composer = write({f"{group}/mine": HEAD + "stage: {extra: 1}\n"})
    for stage in ("report", "pack"):
        composed = composer.compose({group: "mine", "stage": stage})
        assert composed.tree["stage"]["name"] == stage and composed.tree["stage"]["extra"] == 1
