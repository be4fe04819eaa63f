"""Plain trees: set, delete, walk, resolve."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from albor.config.problems import ConfigRefused, Problem
from albor.config.structure import UNRESOLVED
from albor.config.tree import ENVIRONMENT, delete, guard_environment, has_interpolation, leaves, resolve, set_value

CORRECT = "correct it, or give a plain value"
CLOSED = f"may not enter a config (allowed: {', '.join(ENVIRONMENT)}, SLURM_*)"
NAMES = st.sampled_from("abc")
TREES = st.recursive(
    st.integers(0, 9),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("XSLURM_", "a secret")
    monkeypatch.delenv("SCRATCH", raising=False)
    guard_environment()


@pytest.mark.parametrize(
    ("tree", "path", "value", "after"),
    [
        ({}, "a", 1, {"a": 1}),
        ({"a": 1, "b": 2}, "a", None, {"a": None, "b": 2}),
        ({}, "a.b.c", 1, {"a": {"b": {"c": 1}}}),
        ({"a": {"b": 1, "c": 2}}, "a.b", 3, {"a": {"b": 3, "c": 2}}),
        ({"a": 5}, "a.b", 3, {"a": {"b": 3}}),
        ({"a": {"b": 5}}, "a.b.c.d", 3, {"a": {"b": {"c": {"d": 3}}}}),
        # A mapping is merged into a mapping, and takes the place of everything else.
        ({"a": {"b": 1, "c": {"d": 2}}}, "a", {"c": {"e": 3}, "f": 4}, {"a": {"b": 1, "c": {"d": 2, "e": 3}, "f": 4}}),
        ({"a": {"b": {"c": 1}}}, "a", {"b": 2}, {"a": {"b": 2}}),
        ({"a": {"b": 1}}, "a", {"b": {"c": 2}}, {"a": {"b": {"c": 2}}}),
        ({"a": {"b": 1}}, "a", 7, {"a": 7}),
        ({"a": 7}, "a", {"b": 1}, {"a": {"b": 1}}),
        ({"a": [1]}, "a", {"b": 1}, {"a": {"b": 1}}),
        # Items of lists are counted from 0.
        ({"a": [1, 2, 3]}, "a.0", 9, {"a": [9, 2, 3]}),
        ({"a": [1, 2, 3], "b": 4}, "a.2", [9], {"a": [1, 2, [9]], "b": 4}),
        ({"a": {"b": [{"c": 1, "d": 2}]}}, "a.b.0.c", 9, {"a": {"b": [{"c": 9, "d": 2}]}}),
        ({"a": [{"c": {"d": 1, "e": 2}}]}, "a.0.c.d", 9, {"a": [{"c": {"d": 9, "e": 2}}]}),
        ({"a": [[1, 2], [3]]}, "a.0.1", 9, {"a": [[1, 9], [3]]}),
        ({"a": [1, 2]}, "a.1.c.d", 9, {"a": [1, {"c": {"d": 9}}]}),
        ({"a": [1, 2]}, "a.b", 9, {"a": {"b": 9}}),
        ({"a": [1, 2]}, "a.b.0", 9, {"a": {"b": {"0": 9}}}),
        ({"a": {"0": 1}}, "a.0", 9, {"a": {"0": 9}}),
    ],
)
def test_a_value_is_set_in_a_copy(tree: dict[str, Any], path: str, value: Any, after: dict[str, Any]) -> None:
    before = copy.deepcopy(tree)
    assert set_value(tree, path, value) == after
    assert tree == before


def test_what_a_set_value_does_not_touch_is_shared() -> None:
    tree: dict[str, Any] = {"a": {"b": {"c": 1}, "d": {}}, "e": {}}
    after = set_value(tree, "a.b.c", 2)
    assert after["e"] is tree["e"] and after["a"]["d"] is tree["a"]["d"] and after["a"] is not tree["a"]
    rest = delete(tree, "a.b.c")
    assert rest["e"] is tree["e"] and rest["a"]["d"] is tree["a"]["d"]


@pytest.mark.parametrize(
    ("path", "place", "items"), [("a.3", "3", 3), ("a.99.b", "99.b", 3), ("b.0", "0", 0), ("c.0.1", "1", 1)]
)
def test_an_item_that_a_list_does_not_have_is_refused(path: str, place: str, items: int) -> None:
    with pytest.raises(ConfigRefused) as refused:
        set_value({"a": [1, 2, 3], "b": [], "c": [[5]]}, path, 9)
    assert refused.value.problems == [Problem("E-OVERRIDE", place, f"the list has {items} items")]


@pytest.mark.parametrize(
    ("tree", "path", "after"),
    [
        ({"a": 1, "b": 2}, "a", {"b": 2}),
        ({"a": {"b": 1, "c": 2}, "d": 3}, "a.b", {"a": {"c": 2}, "d": 3}),
        ({"a": {"b": {"c": 1}}}, "a.b.c", {"a": {"b": {}}}),
        ({"a": None}, "a", {}),
    ],
)
def test_a_key_is_deleted_from_a_copy(tree: dict[str, Any], path: str, after: dict[str, Any]) -> None:
    before = copy.deepcopy(tree)
    assert delete(tree, path) == after
    assert tree == before


@pytest.mark.parametrize(("path", "rest"), [("z", "z"), ("a.z", "z"), ("a.b.c", "c"), ("l.0", "0"), ("t.x", "x")])
def test_a_key_that_is_not_there_is_not_deleted(path: str, rest: str) -> None:
    with pytest.raises(KeyError) as refused:
        delete({"a": {"b": 1}, "l": ["0", 1], "t": "xyz"}, path)
    assert refused.value.args == (rest,)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(NAMES, TREES, max_size=3), st.lists(NAMES, min_size=1, max_size=3), st.integers(10, 19))
def test_what_is_set_is_there_and_what_is_deleted_is_not(tree: dict[str, Any], parts: list[str], value: int) -> None:
    path = ".".join(parts)
    after = set_value(tree, path, value)
    assert (path, value) in list(leaves(after))
    assert path not in dict(leaves(delete(after, path)))
    assert set_value(after, path, value) == after


def test_leaves_have_their_paths() -> None:
    tree = {"a": {"b": 1, 2: None}, "c": [3, {"d": "x"}, [4]], "e": {}, "f": []}
    assert list(leaves(tree)) == [("a.b", 1), ("a.2", None), ("c[0]", 3), ("c[1].d", "x"), ("c[2][0]", 4)]
    assert list(leaves(tree["a"], "at")) == [("at.b", 1), ("at.2", None)]
    assert list(leaves(5)) == [("", 5)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("${a}", True),
        ("x ${a", True),
        ({"a": [1, {"b": "${c}"}]}, True),
        ("$a {b}", False),
        ({"${a}": 1}, False),
        (3, False),
    ],
)
def test_an_interpolation_is_seen_wherever_it_stands(value: Any, found: bool) -> None:
    assert has_interpolation(value) is found


@pytest.mark.parametrize(
    ("tree", "after"),
    [
        ({"a": "${b.c}", "b": {"c": 3}}, {"a": 3, "b": {"c": 3}}),
        ({"a": "x ${b} y", "b": 2}, {"a": "x 2 y", "b": 2}),
        ({"a": "${b}", "b": {"c": ["${d}"]}, "d": None}, {"a": {"c": [None]}, "b": {"c": [None]}, "d": None}),
        ({"a": {"b": "${.c}", "c": 5}}, {"a": {"b": 5, "c": 5}}),
        ({"a": "${oc.env:HOME}/x"}, {"a": "/home/me/x"}),
        ({"a": "${oc.env:SLURM_JOB_ID}", "b": "???"}, {"a": "77", "b": "???"}),
        ({"a": "${oc.env:SCRATCH,elsewhere}"}, {"a": "elsewhere"}),
        ({"a": "${oc.env:HOME,elsewhere}"}, {"a": "/home/me"}),
    ],
)
def test_interpolations_are_replaced(tree: dict[str, Any], after: dict[str, Any]) -> None:
    assert resolve(tree) == (after, [])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("${nope}", "Interpolation key 'nope' not found"),
        ("${a}", "Recursive interpolation detected"),
        ("${nothing:1}", "Unsupported interpolation type nothing"),
        ("${b", "no viable alternative at input '${b'"),
        ("${oc.env:PATH}", f"the environment variable PATH {CLOSED}"),
        ("${oc.env:PATH,else}", f"the environment variable PATH {CLOSED}"),
        ("${oc.env:XSLURM_}", f"the environment variable XSLURM_ {CLOSED}"),
        ("${oc.env:SCRATCH}", "the environment variable SCRATCH is not set"),
    ],
)
def test_a_bad_interpolation_is_one_problem_and_no_value(text: str, cause: str) -> None:
    after, problems = resolve({"a": text, "b": 1, "c": "${b}"})
    assert problems == [Problem("E-INTERPOLATION", "a", f"{text} cannot be resolved: {cause}", CORRECT)]
    assert after == {"a": UNRESOLVED, "b": 1, "c": 1}


def test_every_bad_interpolation_is_reported_in_its_place() -> None:
    tree = {"l": [{"m": ["${no}", "${s}"]}, "${b}"], "b": "???", "s": "${l}", "ok": "${t}", "t": 1}
    after, problems = resolve({k: v for k, v in tree.items() if k != "s"} | {"s": "plain"})
    assert problems == [
        Problem("E-INTERPOLATION", "l.0.m.0", "${no} cannot be resolved: Interpolation key 'no' not found", CORRECT),
        Problem("E-MISSING", "l.1", "${b} points to a value that is not given", "give it, or give this one"),
    ]
    assert after == {"l": [{"m": [UNRESOLVED, "plain"]}, UNRESOLVED], "b": "???", "s": "plain", "ok": 1, "t": 1}


def test_an_interpolation_without_end_is_said_to_point_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def select(*words: object, **more: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(OmegaConf, "select", select)
    cause = "${no} cannot be resolved: it points to itself"
    assert resolve({"a": "${no}"}) == ({"a": UNRESOLVED}, [Problem("E-INTERPOLATION", "a", cause, CORRECT)])


def test_what_is_malformed_is_not_held_against_the_rest() -> None:
    tree = {"a": "${b", "l": ["${b}", "${b"], "b": 1, "c": "${no}", "d": "${a}"}
    after, problems = resolve(tree)
    assert [(p.code, p.path) for p in problems] == [("E-INTERPOLATION", path) for path in ("a", "l.1", "c")]
    assert after == {"a": UNRESOLVED, "l": [1, UNRESOLVED], "b": 1, "c": UNRESOLVED, "d": None}


@pytest.mark.parametrize(
    ("tree", "after"),
    [
        ({"s": {"x": "${t}"}, "t": {"y": "${s}"}}, {"s": {"x": UNRESOLVED}, "t": {"y": UNRESOLVED}}),
        ({"s": [1, {"x": "${t}"}], "t": ["${s}"]}, {"s": [1, {"x": UNRESOLVED}], "t": [UNRESOLVED]}),
    ],
)
def test_a_circle_through_sections_is_found_though_no_value_of_it_is_bad_alone(
    tree: dict[str, Any], after: dict[str, Any]
) -> None:
    found, problems = resolve(tree | {"z": "$", "bad": "${no}"})
    assert found == after | {"z": "$", "bad": UNRESOLVED}
    bad, *circle = problems
    assert bad == Problem(
        "E-INTERPOLATION", "bad", "${no} cannot be resolved: Interpolation key 'no' not found", CORRECT
    )
    paths = [path.replace("[", ".").replace("]", "") for path, leaf in leaves(after) if leaf is UNRESOLVED]
    cause = "cannot be resolved: it is part of a circle"
    assert circle == [Problem("E-INTERPOLATION", path, cause, CORRECT) for path in paths]
