"""Leaves in pytest's cache how the tests of each contract ended, for ``albor contracts``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import cast

import pytest

from albor.contracts.evidence import CACHE, sources


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers report to the process that started them
        config.pluginmanager.register(Outcomes(config))


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave any out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every case of a test takes its contracts along, and how many cases state them: only all of them are a pass."""
    stating = [(item, address(item), contract) for item in items for contract in contracts(item)]
    cases = Counter((test, contract) for _, test, contract in stating)
    more = any("[" in argument for argument in config.args)  # single cases were asked for, and the rest not collected
    for item, test, contract in stating:
        item.user_properties.append((CACHE, (test, contract, cases[test, contract] + more)))


def address(item: pytest.Item) -> str:
    path = item.path.relative_to(item.config.rootpath).as_posix()
    return f"{path}::{getattr(item, 'originalname', item.name)}"


def contracts(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("contract"):
        for argument in mark.args:
            if isinstance(argument, str):
                yield argument
            else:  # a table, of which a case is a row
                yield next(v[0] for v in item.callspec.params.values() if v in argument)  # type: ignore[attr-defined]


class Outcomes:
    """Counts the cases that passed and failed; lives in the process that the tests report to."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sources = sources(config.rootpath)  # before the tests: what is edited meanwhile is not what they saw
        self.passed: Counter[tuple[str, str]] = Counter()
        self.cases: dict[tuple[str, str], int] = {}
        self.failed: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == CACHE:
                test, contract, cases = cast(tuple[str, str, int], value)
                self.cases[test, contract] = cases
                self.passed[test, contract] += report.when == "call" and report.passed
                if report.failed:
                    self.failed.add((test, contract))

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self.config, "cache", None)
        if cache is None or not self.cases:
            return
        known = defaultdict(dict, cache.get(CACHE, {}))
        for (test, contract), cases in self.cases.items():
            if (test, contract) in self.failed:
                known[test][contract] = ("failed", self.sources)
            elif self.passed[test, contract] == cases:
                known[test][contract] = ("passed", self.sources)
        cache.set(CACHE, known)
