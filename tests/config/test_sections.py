"""Plain mappings become dataclasses, unions of them and mappings with names of the user's own; and back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt

from albor.config.problems import Problem
from albor.config.structure import UNRESOLVED, converter, determining_fields, missing, plain, unknown_keys
from albor.config.types import Recorded


@dataclass(frozen=True)
class Sub:
    deep: int = 1


@dataclass(frozen=True)
class Entry:
    metric: str
    above: Annotated[float, Gt(0)] = 1.0
    sub: Sub = field(default_factory=Sub)


@dataclass(frozen=True)
class Bpe:
    size: int
    style: Literal["a", "b"] = "a"
    kind: Literal["bpe"] = "bpe"


@dataclass(frozen=True)
class Own:
    path: str = "p"
    kind: Literal["own"] = "own"


@dataclass(frozen=True)
class Stage:
    kind: Literal["x", "y"] = "x"
    name: Literal["stage"] = "stage"


@dataclass(frozen=True)
class Other:
    kind: int = 0
    name: Literal["other"] = "other"


@dataclass(frozen=True)
class Untold:
    kind: str = "untold"
    title: Literal["t"] = "t"


@dataclass(frozen=True)
class Deep:
    deep: int
    noise: Annotated[int, Recorded()]


@dataclass(frozen=True)
class Noted:
    seed: int
    label: Annotated[str, Recorded()]
    every: Annotated[int, Gt(0), Recorded()]
    kept: Annotated[int, Gt(0)]
    inner: Any


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    converter.cache_clear()
    yield
    converter.cache_clear()


def convert(tp: Any, value: Any, path: str = "x.y") -> tuple[Any, list[Problem]]:
    """What the value becomes and the new problems; one that was there before stays, and changes nothing."""
    before = Problem("E-KEY", "before", "it was there")
    problems = [before]
    made = converter(tp)(value, path, problems)
    assert problems.pop(0) is before
    return made, problems


def needs(path: str) -> Problem:
    return Problem("E-MISSING", path, "needs a value and has no default", f"give one: {path}=…")


def test_a_mapping_becomes_a_dataclass_with_its_defaults() -> None:
    assert convert(Entry, {"metric": "loss"}) == (Entry("loss", 1.0, Sub(1)), [])
    assert convert(Entry, {"metric": "loss", "above": 3, "sub": {"deep": 2}}) == (Entry("loss", 3.0, Sub(2)), [])


@pytest.mark.parametrize("value", [3, "text", None, [], True])
def test_what_is_no_mapping_is_no_section(value: Any) -> None:
    for tp in (Entry, Bpe | Own, dict[str, int]):
        made, (problem,) = convert(tp, value)
        assert made is None and (problem.code, problem.path, problem.help) == ("E-TYPE", "x.y", None)
    shown = {"3": "3", "text": "'text' (text)", "None": "null", "[]": "a list", "True": "true (a switch)"}[str(value)]
    assert problem.cause == f"expected a mapping, got {shown}"
    assert convert(Entry, value)[1] == convert(Bpe | Own, value)[1] == [problem]


def test_everything_wrong_with_a_section_is_said_at_once() -> None:
    value = {"abov": 3, "above": -1, "sub": {"deep": "???", "x": {"a": 1, "b": {}}}}
    assert convert(Entry, value) == (
        None,
        [
            Problem("E-KEY", "x.y.abov", "`x.y.abov` is not a key"),
            Problem("E-RANGE", "x.y.above", "-1 is out of range; it must be > 0"),
            needs("x.y.sub.deep"),
            Problem("E-KEY", "x.y.sub.x.a", "`x.y.sub.x.a` is not a key"),
            Problem("E-KEY", "x.y.sub.x.b", "`x.y.sub.x.b` is not a key"),
            needs("x.y.metric"),
        ],
    )


def test_at_the_top_a_path_is_the_key_alone() -> None:
    assert convert(Entry, {"metric": "???", "wrong": 1}, path="") == (
        None,
        [needs("metric"), Problem("E-KEY", "wrong", "`wrong` is not a key")],
    )
    assert [p.path for p in convert(Entry, {"sub": {"deep": "a"}}, path="")[1]] == ["sub.deep", "metric"]
    assert missing("a.b") == needs("a.b")


def test_a_value_whose_interpolation_failed_is_not_reported_again_but_makes_no_section() -> None:
    assert convert(Entry, {"metric": UNRESOLVED}) == (None, [])
    assert convert(Entry, {"metric": "loss", "above": UNRESOLVED}) == (None, [])
    assert convert(Entry, {"metric": UNRESOLVED, "sub": 3})[1] == [
        Problem("E-TYPE", "x.y.sub", "expected a mapping, got 3")
    ]


def test_below_an_unknown_key_every_leaf_is_unknown_and_a_target_is_never_let_through() -> None:
    found = unknown_keys("a", {"b": {"c": 1, "_target_": "os.system"}, "d": {}, "e": [1]})
    assert [(p.code, p.path) for p in found] == [
        ("E-KEY", "a.b.c"),
        ("E-TARGET", "a.b._target_"),
        ("E-KEY", "a.d"),
        ("E-KEY", "a.e"),
    ]
    cause = "`_target_` is not allowed: YAML never names code to run"
    assert found[1] == Problem("E-TARGET", "a.b._target_", cause, "remove it")
    assert unknown_keys("_target_", 1) == [Problem("E-TARGET", "_target_", cause, "remove it")]
    assert unknown_keys("_target_.x", 1) == [Problem("E-KEY", "_target_.x", "`_target_.x` is not a key")]


def test_a_mapping_keeps_the_users_names_as_text() -> None:
    assert convert(dict[str, int], {"a": 1, 2: 3.0}) == ({"a": 1, "2": 3}, [])
    assert convert(dict[str, int], {}) == ({}, [])
    assert convert(dict[str, Entry | None], {"a": {"metric": "m"}, "b": None}) == ({"a": Entry("m"), "b": None}, [])
    assert convert(dict[str, int], {"a": "b", 2: 3}) == (
        {"a": None, "2": 3},
        [Problem("E-TYPE", "x.y.a", "expected a whole number, got 'b' (text)")],
    )


@pytest.mark.parametrize("item", [Entry, Entry | None])
def test_an_unknown_key_of_an_entry_is_told_the_nearest_of_its_keys(item: Any) -> None:
    value = {
        "a": {"metric": "m", "abov": 1, "zzzzzzzz": 2},
        3: {"metrc": "m", "above": 0, "sub": {"dep": 1}, "_target_": 1},
    }
    made, problems = convert(dict[str, item], value)
    assert made == {"a": None, "3": None}
    assert problems == [
        Problem("E-KEY", "x.y.a.abov", "`x.y.a.abov` is not a key", "did you mean `x.y.a.above`?"),
        Problem("E-KEY", "x.y.a.zzzzzzzz", "`x.y.a.zzzzzzzz` is not a key", "the keys of x.y.a are metric, above, sub"),
        Problem("E-KEY", "x.y.3.metrc", "`x.y.3.metrc` is not a key", "did you mean `x.y.3.metric`?"),
        Problem("E-RANGE", "x.y.3.above", "0 is out of range; it must be > 0"),
        Problem("E-KEY", "x.y.3.sub.dep", "`x.y.3.sub.dep` is not a key"),
        Problem("E-TARGET", "x.y.3._target_", "`_target_` is not allowed: YAML never names code to run", "remove it"),
        needs("x.y.3.metric"),
    ]


def test_an_entry_may_be_of_several_schemas() -> None:
    made, problems = convert(dict[str, Bpe | Own], {"a": {"kind": "own"}, "b": {"kind": "own", "pth": "p"}})
    assert made == {"a": Own(), "b": None}
    assert [p.help for p in problems] == ["did you mean `x.y.b.path`?"]


@pytest.mark.parametrize(
    ("tp", "value", "made"),
    [
        (int | None, None, None),
        (int | None, 3.0, 3),
        (None | Sub, {"deep": 3}, Sub(3)),
        (Bpe | Own, {"kind": "own", "path": "q"}, Own("q")),
        (Bpe | Own, {"kind": "bpe", "size": 3}, Bpe(3)),
        (Bpe | Own | None, None, None),
        (Bpe | Own | None, {"kind": "own"}, Own()),
        (Stage | Other, {"name": "other"}, Other()),
        (Stage | Other, {"name": "stage", "kind": "y"}, Stage("y")),
    ],
)
def test_a_union_takes_the_schema_that_its_tag_names(tp: Any, value: Any, made: Any) -> None:
    assert convert(tp, value) == (made, [])


@pytest.mark.parametrize(
    ("tp", "value", "problem"),
    [
        (int | None, "a", Problem("E-TYPE", "x.y", "expected a whole number, got 'a' (text)")),
        (Bpe | Own, None, Problem("E-TYPE", "x.y", "expected a mapping, got null")),
        (Bpe | Own, {"size": 3}, needs("x.y.kind")),
        (Bpe | Own, {"kind": "???", "size": 3}, needs("x.y.kind")),
        (Bpe | Own, {"kind": "bpe"}, needs("x.y.size")),
        (Stage | Other, {"kind": "x"}, needs("x.y.name")),
        (
            Bpe | Own | None,
            {"kind": "bep"},
            Problem(
                "E-VALUE",
                "x.y.kind",
                "'bep' (text) is not a value of x.y.kind",
                "did you mean 'bpe'? The values are bpe, own",
            ),
        ),
    ],
)
def test_a_union_refuses_what_is_none_of_its_schemas(tp: Any, value: Any, problem: Problem) -> None:
    assert convert(tp, value) == (None, [problem])


def test_a_union_needs_a_field_that_tells_its_schemas_apart() -> None:
    with pytest.raises(AssertionError) as refused:
        converter(Own | Untold)
    assert str(refused.value).startswith(f"{Untold} needs a Literal field to be told from its siblings")


def test_dataclasses_become_plain_data_again() -> None:
    noted = Noted(1, "me", 2, 3, {"a": (Sub(1), [Deep(2, 3)]), "b": Sub, "c": None})
    inner = {"a": [{"deep": 1}, [{"deep": 2, "noise": 3}]], "b": Sub, "c": None}
    assert plain(noted) == {"seed": 1, "label": "me", "every": 2, "kept": 3, "inner": inner}


def test_what_is_only_recorded_does_not_determine_a_run() -> None:
    assert determining_fields(Noted) == ("seed", "kept", "inner")
    noted = Noted(1, "me", 2, 3, {"a": [Deep(4, 5)], "b": (Deep(6, 7),)})
    assert plain(noted, determining=True) == {"seed": 1, "kept": 3, "inner": {"a": [{"deep": 4}], "b": [{"deep": 6}]}}
