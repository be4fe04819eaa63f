"""What rests on what: layers, and what is refused."""

from __future__ import annotations

import pytest

from albor.contracts import RULES, Rule
from albor.contracts.graph import layers, with_needs
from albor.errors import AlborError


def rules(needs: dict[str, tuple[str, ...]]) -> dict[str, Rule]:
    return {name: Rule(id=name, title=name, formula="", level=2, needs=needed) for name, needed in needs.items()}


def test_each_stands_after_all_that_it_needs() -> None:
    assert layers(rules({"C": ("A", "B"), "B": ("A",), "A": (), "D": ()})) == [["A", "D"], ["B"], ["C"]]
    assert layers({}) == []
    depth = {name: i for i, layer in enumerate(layers(RULES)) for name in layer}
    assert depth.keys() == RULES.keys()
    assert all(depth[needed] < depth[name] for name, rule in RULES.items() for needed in rule.needs)


@pytest.mark.parametrize(
    ("needs", "named"),
    [
        ({"A": ("A",)}, ["A needs A"]),
        ({"A": ("B",), "B": ("A",)}, ["A needs B needs A", "B needs A needs B"]),
        (
            {"X": ("A",), "A": ("B",), "B": ("C",), "C": ("A",), "Y": ()},
            ["A needs B needs C needs A", "B needs C needs A needs B", "C needs A needs B needs C"],
        ),
    ],
)
def test_a_circle_is_refused_and_named(needs: dict[str, tuple[str, ...]], named: list[str]) -> None:
    with pytest.raises(AlborError) as refused:
        layers(rules(needs))
    assert refused.value.cause.removeprefix("contracts need each other in a circle: ") in named
    fix = "take one of them out of the other's needs=: nothing in a circle can be verified first"
    assert (refused.value.code, refused.value.help) == ("E-CONTRACT", fix)


def test_what_is_needed_must_be_there() -> None:
    with pytest.raises(AlborError) as refused:
        layers(rules({"A": ("B",)}))
    said = refused.value
    assert (said.code, said.cause, said.help) == (
        "E-CONTRACT",
        "A needs B, which is no contract",
        "correct its needs=, or write the contract",
    )


def test_with_all_that_it_rests_on() -> None:
    made = rules({"D": ("C",), "C": ("A", "B"), "B": (), "A": (), "E": ("A",)})
    assert list(with_needs(["C"], made)) == ["C", "B", "A"]
    assert list(with_needs(["D", "E"], made)) == ["D", "C", "B", "A", "E"]
