"""What the words of a command line address."""

from __future__ import annotations

from typing import Any

import pytest

from albor.config.overrides import check_hydra, is_hydra, parse, plain_value, split
from albor.config.problems import ConfigRefused, Problem

GROUPS = {"model": ["tiny", "50m"], "task": ["a", "b"], "experiment": ["own/v1"], "level": ["1", "0.5"]}
SECTIONS = "launcher, mode, searchpath, sweeper"
UNUSED = "not a section of Hydra's config that is used"
ELSEWHERE = "runs are kept by what they are made from, below one directory"
SWEEP = "add -m to run one job per value, or quote the value"
QUOTE = "write KEY=VALUE; quote a value with blanks, commas or brackets: 'key=\"a, b\"'"


def bad_choice(group: str, choice: str, origin: str | None) -> Problem:
    return Problem("E-CHOICE", group, choice, "asked for", origin)


def sorted_out(*texts: str) -> dict[str, Any]:
    """What is not empty of the overrides sorted; a value as (key, plain value, whether it is deleted)."""
    parse.cache_clear()
    out = split(texts, GROUPS, bad_choice)
    values = [(key, plain_value(o), o.is_delete()) for key, o in out.values]
    assert all(key == o.key_or_group for key, o in out.values)
    return {k: v for k, v in {**vars(out), "values": values}.items() if v}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("hydra.mode=RUN", True),
        ("hydra/launcher=x", True),
        ("+hydra.a=1", True),
        ("~hydra", True),
        ("++hydra=1", True),
        ("hydra@x=1", True),
        ("hydration=1", False),
        ("data.hydra.x=1", False),
        ("hydra-x=1", False),
    ],
)
def test_what_addresses_hydra_itself(text: str, found: bool) -> None:
    assert is_hydra(text) is found


@pytest.mark.parametrize(
    "text",
    [
        "hydra.mode=RUN",
        "hydra.mode=MULTIRUN",
        "hydra.launcher.n_jobs=x",
        "+hydra.sweeper=x",
        "hydra.searchpath=[x]",
        "~hydra.sweeper.max_batch_size",
        "hydra/launcher=submitit",
        "++hydra.launcher.params=3",
        "hydra/launcher@hydra.x=none",
    ],
)
def test_a_section_of_hydras_own_that_is_used_is_for_others_to_judge(text: str) -> None:
    assert check_hydra(text) == []
    assert sorted_out(text) == {"hydra": [text]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hydra.mode=BOTH", ("E-VALUE", "hydra.mode", "it is RUN or MULTIRUN", "hydra.mode=MULTIRUN")),
        ("hydra.mode=run", ("E-VALUE", "hydra.mode", "it is RUN or MULTIRUN", "hydra.mode=MULTIRUN")),
        ("~hydra.mode", ("E-VALUE", "hydra.mode", "it is RUN or MULTIRUN", "hydra.mode=MULTIRUN")),
        ("hydra.mode=1=RUN", ("E-VALUE", "hydra.mode", "it is RUN or MULTIRUN", "hydra.mode=MULTIRUN")),
        (
            "+hydra.sweeper.params.seed=1",
            (
                "E-OVERRIDE",
                "hydra.sweeper.params",
                "not on the command line",
                "write KEY=A,B; an experiment may set hydra.sweeper.params",
            ),
        ),
        ("hydra.mod=RUN", ("E-KEY", "hydra.mod", UNUSED, "did you mean hydra.mode?")),
        ("hydra.run.dir=x", ("E-OVERRIDE", "hydra.run", ELSEWHERE, "outputs=DIR")),
        ("hydra.sweep.dir=x", ("E-OVERRIDE", "hydra.sweep", ELSEWHERE, "outputs=DIR")),
        ("hydra.output_subdir=null", ("E-OVERRIDE", "hydra.output_subdir", ELSEWHERE, "outputs=DIR")),
        (
            "+hydra/lancher=x",
            ("E-KEY", "hydra.lancher", UNUSED, "did you mean hydra.launcher?"),
        ),
        ("~hydra.sweper", ("E-KEY", "hydra.sweper", UNUSED, "did you mean hydra.sweeper?")),
        ("hydra.job.name=x", ("E-KEY", "hydra.job", UNUSED, f"they are {SECTIONS}")),
        ("hydra.defaults=[]", ("E-KEY", "hydra.defaults", UNUSED, f"they are {SECTIONS}")),
        ("hydra.zzzzzz@a=1", ("E-KEY", "hydra.zzzzzz", UNUSED, f"they are {SECTIONS}")),
    ],
)
def test_what_is_no_section_of_hydras_is_refused(text: str, problem: tuple[str, str, str, str]) -> None:
    expected = [Problem(*problem, f"override {text}")]
    assert check_hydra(text) == expected
    assert sorted_out(text) == {"hydra": [text], "problems": expected}


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("model=tiny", {"choices": {"model": ("tiny", "model=tiny")}}),
        ("model='tiny'", {"choices": {"model": ("tiny", "model='tiny'")}}),
        ("model=50m", {"choices": {"model": ("50m", "model=50m")}}),
        ("+experiment=own/v1", {"choices": {"experiment": ("own/v1", "+experiment=own/v1")}}),
        ("level=1", {"choices": {"level": ("1", "level=1")}}),
        ("level=0.5", {"choices": {"level": ("0.5", "level=0.5")}}),
        ("model=null", {"choices": {"model": (None, "model=null")}}),
        ("~model", {"choices": {"model": (None, "~model")}}),
        ("task=[a,b]", {"choices": {"task": ("[a,b]", "task=[a,b]")}}),
        ("task=['a']", {"choices": {"task": ("[a]", "task=['a']")}}),
        ("task=b", {"choices": {"task": ("b", "task=b")}}),
        ("model.size=3", {"values": [("model.size", 3, False)]}),
        ("++a.b='x y'", {"values": [("a.b", "x y", False)]}),
        ("a=", {"values": [("a", "", False)]}),
        ("~a.b", {"values": [("a.b", None, True)]}),
        ("a=[1,'b c',{d: 'e'}]", {"values": [("a", [1, "b c", {"d": "e"}], False)]}),
        ("a={}", {"values": [("a", {}, False)]}),
        ("model={}", {"values": [("model", {}, False)]}),
        ("up.pack.seed=3", {"upstream": {"pack": ["seed=3"]}}),
        ("+up.pack.a.b=3.5", {"upstream": {"pack": ["a.b=3.5"]}}),
        ("++up.pack.seed=3", {"upstream": {"pack": ["seed=3"]}}),
        ("~up.pack.seed", {"upstream": {"pack": ["~seed"]}}),
        ("up.pack.data=x.y", {"upstream": {"pack": ["data=x.y"]}}),
        ("~model=tiny", {"choices": {"model": (None, "~model=tiny")}}),
        ("Xup.x.y=1", {"values": [("Xup.x.y", 1, False)]}),
        ("upper.x=1", {"values": [("upper.x", 1, False)]}),
    ],
)
def test_an_override_goes_where_it_belongs(text: str, out: dict[str, Any]) -> None:
    assert sorted_out(text) == out


ONE = "one choice of {} is wanted, got {}"


@pytest.mark.parametrize(
    ("text", "place", "cause", "fix"),
    [
        ("task=[]", "task", ONE.format("task", "[]"), "write task=CHOICE"),
        ("model=[tiny]", "model", ONE.format("model", "['tiny']"), "write model=CHOICE"),
        ("model=tinny", "model", "tinny", "asked for"),
        ("level=2", "level", "2", "asked for"),
        ("seed=1,2", "seed", "several values, but this is not a sweep", SWEEP),
        ("=1", "=1", "names no key", "write KEY=VALUE"),
        ("model@x=tiny", "model", "a group's place in the config cannot be moved", "write model=…"),
        ("a=[", "a=[", "no viable alternative at input '['", QUOTE),
        ("a=b=c", "a=b=c", "mismatched input '=' expecting <EOF>", QUOTE),
        ("up.pack=3", "up.pack=3", "names no key of the stage", "write up.STAGE.KEY=VALUE"),
        ("up.pack=1.5", "up.pack=1.5", "names no key of the stage", "write up.STAGE.KEY=VALUE"),
        ("up.pack", "up.pack", "names no key of the stage", "write up.STAGE.KEY=VALUE"),
        ("up.=3", "up.=3", "names no key of the stage", "write up.STAGE.KEY=VALUE"),
    ],
)
def test_an_override_that_belongs_nowhere_is_refused(text: str, place: str, cause: str, fix: str) -> None:
    code = "E-CHOICE" if place in GROUPS and "@" not in text else "E-OVERRIDE"
    assert sorted_out(text) == {"problems": [Problem(code, place, cause, fix, f"override {text}")]}


def test_every_wrong_choice_of_several_is_refused() -> None:
    text = "task=[a,c,b,d]"
    problems = [bad_choice("task", choice, f"override {text}") for choice in "cd"]
    assert sorted_out(text) == {"problems": problems}


def test_a_mapping_is_one_value_per_leaf() -> None:
    out = split(("model={a: 1, b: {c: 'x y', d: {}}, e: [1]}",), GROUPS, bad_choice)
    found = [(key, o.key_or_group, plain_value(o), o.input_line) for key, o in out.values]
    line = "model={a: 1, b: {c: 'x y', d: {}}, e: [1]}"
    assert found == [
        (k, k, v, line) for k, v in (("model.a", 1), ("model.b.c", "x y"), ("model.b.d", {}), ("model.e", [1]))
    ]


def test_overrides_are_sorted_one_after_the_other_whatever_was_wrong_before() -> None:
    words = ("a=[", "hydra.jb=1", "up.x=1", "up.x.b=1", "=1", "up.x.c=2", "seed=1,2", "m@x=1", "b=[", "model=no",
             "task=[no]", "hydra.run.dir=x", "model=tiny", "model=50m", "a=1", "b={c: 1}", "a=2")  # fmt: skip
    out = sorted_out(*words)
    assert [p.code for p in out.pop("problems")] == [
        "E-OVERRIDE",
        "E-KEY",
        *["E-OVERRIDE"] * 5,
        *["E-CHOICE"] * 2,
        "E-OVERRIDE",
    ]
    assert out == {
        "choices": {"model": ("50m", "model=50m")},
        "values": [("a", 1, False), ("b.c", 1, False), ("a", 2, False)],
        "upstream": {"x": ["b=1", "c=2"]},
        "hydra": ["hydra.jb=1", "hydra.run.dir=x"],
    }
    assert sorted_out() == {}


def test_what_cannot_be_parsed_is_refused_with_the_first_line_of_the_cause() -> None:
    parse.cache_clear()
    with pytest.raises(ConfigRefused) as refused:
        parse("key={a")
    (problem,) = refused.value.problems
    assert (problem.code, problem.path, problem.help, problem.origin) == (
        "E-OVERRIDE",
        "key={a",
        QUOTE,
        "override key={a",
    )
    assert "\n" not in problem.cause and problem.cause
    assert parse("a.b=1") is parse("a.b=1")
