"""A whole config from its sections, which points of a sweep share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.config.sections import Structurer
from albor.config.structure import UNRESOLVED, converter
from albor.config.tree import resolve
from albor.plan.resolver import Resolver


@dataclass(frozen=True)
class Report:
    name: str


@dataclass(frozen=True)
class Renamed:
    name: str
    size: int = 3


@pytest.fixture(scope="module")
def shipped(resolver: Resolver) -> dict[str, Any]:
    return resolve(resolver.composer.compose({"stage": "report"}).tree)[0]


@pytest.fixture
def tree(shipped: dict[str, Any]) -> dict[str, Any]:
    converter.cache_clear()
    return dict(shipped)


def needs(path: str) -> Problem:
    return Problem("E-MISSING", path, "needs a value and has no default", f"give one: {path}=…")


def test_the_shipped_config_is_a_config(tree: dict[str, Any]) -> None:
    config, problems = Structurer()(tree | {"seed": 5.0, "name": "me"}, Report)
    assert problems == [] and isinstance(config, Config)
    assert (config.seed, config.name, config.stage, config.model.name) == (5, "me", Report("report"), "tiny")


def test_a_section_seen_before_is_not_structured_again(tree: dict[str, Any]) -> None:
    structure = Structurer()
    first, _ = structure(tree, Report)
    again, _ = structure(tree | {"seed": 7, "model": dict(tree["model"])}, Report)
    assert first is not None and again is not None
    assert first.data is again.data and first.stage is again.stage
    assert first.model == again.model and first.model is not again.model
    other, _ = structure(tree, Renamed)
    assert other is not None and other.stage == Renamed("report") and other.data is first.data
    back, _ = structure(tree, Report)
    assert back is not None and back.stage is first.stage


def test_one_mapping_may_stand_for_two_sections(tree: dict[str, Any]) -> None:
    empty: dict[str, Any] = {}
    config, problems = Structurer()(tree | {"task": empty, "evals": empty}, Report)
    assert problems == [] and config is not None
    assert config.task == {} and config.evals.__class__.__name__ == "Benchmarks"


def test_what_is_wrong_with_a_section_seen_before_is_said_again(tree: dict[str, Any]) -> None:
    structure = Structurer()
    bad = tree | {"stage": {"nam": 1}}
    problems = [Problem("E-KEY", "stage.nam", "`stage.nam` is not a key"), needs("stage.name")]
    assert structure(bad, Report) == (None, problems)
    assert structure(bad, Report) == (None, problems)


def test_everything_wrong_with_a_config_is_said_at_once(tree: dict[str, Any]) -> None:
    del tree["model"], tree["tracking"]
    numbered: dict[Any, Any] = {5: 1}
    bad: dict[str, Any] = (
        tree | {"optim": "???", "name": "???", "sede": 1, "more": {"a": 1, "b": {}}, "hardware": 3} | numbered
    )
    assert Structurer()(bad, Report) == (
        None,
        [
            Problem("E-TYPE", "hardware", "expected a mapping, got 3"),
            needs("optim"),
            needs("name"),
            Problem("E-KEY", "sede", "`sede` is not a key"),
            Problem("E-KEY", "more.a", "`more.a` is not a key"),
            Problem("E-KEY", "more.b", "`more.b` is not a key"),
            Problem("E-KEY", "5", "`5` is not a key"),
            needs("model"),
            needs("tracking"),
        ],
    )


def test_a_section_whose_interpolation_failed_is_not_reported_again(tree: dict[str, Any]) -> None:
    config, problems = Structurer()(tree | {"name": UNRESOLVED, "model": UNRESOLVED}, Report)
    assert problems == [] and config is not None and config.name is None and config.model is None


def test_a_refusal_names_every_problem_in_one_line() -> None:
    one, two = Problem("E-KEY", "a.b", "is not a key"), Problem("E-RANGE", "c", "too large", "less", "file:3")
    refused = ConfigRefused((one, two))
    assert str(refused) == "a.b: is not a key; c: too large" and refused.problems == [one, two]


def test_a_problem_has_the_origin_it_is_given_and_keeps_it_otherwise() -> None:
    problem = Problem("E-KEY", "a", "cause", "help", "file:3")
    assert problem.at("override a=1") == Problem("E-KEY", "a", "cause", "help", "override a=1")
    assert problem.at(None) is problem and problem.at("") is problem
