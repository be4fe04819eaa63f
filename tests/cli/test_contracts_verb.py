"""``albor contracts``: the list, one contract, what machines read, and the drawing."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from albor.cli.dag import mermaid, svg
from albor.contracts import KERNELS, RULES, Rule, evidence
from albor.contracts.base import Level
from albor.errors import AlborError

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def test_every_contract_is_listed_with_its_level_tests_and_status(albor) -> None:
    out = albor("contracts").out
    for rule in RULES.values():
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [rule.id]]
        level, tests = line.split()[1:3]
        assert (int(level), rule.title in line) == (rule.level, True) and int(tests) >= 1
        assert re.search(r"  (passed|failed|not run|not run since)  ", line)


def test_machines_read_the_same(albor) -> None:
    found = {entry["id"]: entry for entry in json.loads(albor("contracts", "--json").out)}
    assert list(found) == list(RULES)
    assert {name for name, entry in found.items() if entry["kind"] == "kernel"} == KERNELS.keys()
    budget = found["C-TRAINCFG-001"]
    assert budget["level"] == 4 and "C-TRAINCFG-005" in budget["needs"]
    assert {"tests/contracts/test_proofs.py", "tests/contracts/test_step_budget.py"} <= {
        test["test"].split("::")[0] for test in budget["tests"]
    }
    assert {test["level"] for test in budget["tests"]} == {2, 4}


def test_details_of_some(albor) -> None:
    done = albor("contracts", "c-traincfg-001", "C-KERNEL-002")
    first, second = done.out.split("\n\n")
    assert first.startswith("C-TRAINCFG-001  ") and "43" in first and "needed by  C-ALERT-001, " in first
    assert re.search(r"tests/contracts/test_proofs.py::\w+ +level 4", first)
    assert "kept by    albor.training.distillation.top_k_kl" in second and "level      4, proof" in second
    assert "needs      C-KERNEL-001" in second
    assert [entry["id"] for entry in json.loads(albor("contracts", "C-HW-001", "--json").out)] == ["C-HW-001"]


def test_a_mistyped_id_is_named(albor) -> None:
    done = albor("contracts", "C-KERNEL-01")
    assert done.code == 2 and "C-KERNEL-01" in done.err and "did you mean `albor contracts C-KERNEL-0" in done.err
    assert albor("contracts", "--graph", "png").code == 2


def test_statuses_are_those_of_the_last_run(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = [e.test for e in evidence.stated(ROOT) if e.contract == "C-HW-003"]
    digest = evidence.sources(ROOT)
    for outcome, seen, expected in (("passed", digest, "passed"), ("failed", digest, "failed"),
                                    ("passed", "other", "not run since"), ("failed", "other", "failed")):  # fmt: skip
        known = {test: {"C-HW-003": (outcome, seen)} for test in tests}
        monkeypatch.setattr("albor.cli.verbs.contracts.outcomes", lambda root, known=known: known)
        (entry,) = json.loads(albor("contracts", "C-HW-003", "--json").out)
        assert entry["status"] == expected and {test["status"] for test in entry["tests"]} == {expected}
        assert f"status     {expected}\n" in albor("contracts", "C-HW-003").out


def test_an_installed_wheel_says_that_it_has_no_tests(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albor.cli.verbs.contracts.checkout", lambda: None)
    out = albor("contracts").out
    assert "not in the installed package" in out and all(rule.title in out for rule in RULES.values())
    assert {entry["status"] for entry in json.loads(albor("contracts", "--json").out)} == {"unknown"}


def test_the_graph_as_mermaid(albor) -> None:
    lines = albor("contracts", "--graph", "mermaid").out.splitlines()
    assert lines[0] == "graph LR"
    edges = {tuple(line.split(" --> ")) for line in lines if "-->" in line}
    assert {(a.strip(), b) for a, b in edges} == {(needed, r.id) for r in RULES.values() for needed in r.needs}
    assert len(lines) == 1 + len(RULES) + len(edges)
    some = albor("contracts", "C-TRAINCFG-004", "--graph", "mermaid").out
    assert set(re.findall(r"^  (C-\S+)\[", some, re.M)) == {
        "C-TRAINCFG-004", "C-TRAINCFG-001", "C-TRAINCFG-005", "C-DATA-001", "C-MODEL-001"
    }  # fmt: skip


def boxes(text: str) -> dict[str, tuple[float, float]]:
    """The upper left corners by id."""
    found = {}
    for group in ElementTree.fromstring(text).iter(f"{SVG}g"):
        name = next(t.text for t in group.iter(f"{SVG}text") if t.get("class") == "id")
        x, y = re.findall(r"[\d.]+", group.attrib["transform"])
        found[str(name)] = (float(x), float(y))
    return found


def test_the_graph_as_svg(albor) -> None:
    text = albor("contracts", "--graph", "svg").out
    at = boxes(text)
    assert at.keys() == RULES.keys()
    root = ElementTree.fromstring(text)
    assert len(list(root.iter(f"{SVG}path"))) == sum(len(rule.needs) for rule in RULES.values())
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    size = next(root.iter(f"{SVG}rect"))
    w, h = float(size.attrib["width"]), float(size.attrib["height"])
    places = list(at.values())
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y in places)
    for i, (x, y) in enumerate(places):
        assert not [other for other in places[i + 1 :] if abs(other[0] - x) < w and abs(other[1] - y) < h], "overlap"
    for rule in RULES.values():
        assert all(at[needed][0] + w < at[rule.id][0] for needed in rule.needs), "arrows lead to the right"
    assert "prefers-color-scheme: dark" in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def rule(name: str, *needs: str, title: str = "t", level: Level = 2) -> Rule:
    return Rule(id=name, title=title, formula="", level=level, needs=needs)


def test_no_edge_runs_through_a_box() -> None:
    """One that passes a layer bends around what is in it."""
    chain = [rule("A"), rule("B", "A"), rule("C", "B"), rule("D", "C", "A"), rule("E", title="a < b & c")]
    text = svg({r.id: r for r in chain})
    at = boxes(text)
    paths = [p.attrib["d"] for p in ElementTree.fromstring(text).iter(f"{SVG}path")]
    (long,) = [d for d in paths if d.count("H") == 2]
    for y in re.findall(r"(\d+) H", long):
        assert all(not (top <= float(y) <= top + 40) for top in (at["B"][1], at["C"][1]))
    assert "a &lt; b &amp; c" in text and "a &lt; b &amp; c" in mermaid({"E": chain[-1]})


def test_a_circle_is_not_drawn(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    for draw in (mermaid, svg):
        with pytest.raises(AlborError, match=r"in a circle: (A needs B needs A|B needs A needs B)"):
            draw({"A": rule("A", "B"), "B": rule("B", "A")})
    monkeypatch.setitem(RULES, "C-TRAINCFG-005", rule("C-TRAINCFG-005", "C-TRAINCFG-001"))
    for words in (("contracts",), ("contracts", "--graph", "svg")):
        done = albor(*words)
        assert done.code == 2 and "error[E-CONTRACT]" in done.err and "needs C-TRAINCFG-005" in done.err


def test_the_page_shows_the_graph_as_it_is() -> None:
    assert "(images/contracts.svg)" in (ROOT / "docs/contracts.md").read_text(encoding="utf-8")
    drawn = (ROOT / "docs/images/contracts.svg").read_text(encoding="utf-8")
    assert drawn == svg(RULES) + "\n", "albor contracts --graph svg > docs/images/contracts.svg"
