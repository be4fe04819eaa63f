"""`albor audit` on a model that was really made, and on the same with something planted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from albor.audit.facts import Facts, gather
from albor.audit.item import Severity
from albor.audit.items import ITEMS, Outcome, Verdict
from albor.audit.release import Audit, audit
from albor.runs.store import Run
from tests.audit import spoil
from tests.audit.spoil import PLANTS, find

pytestmark = pytest.mark.xdist_group("audit")
OF_THE_MACHINE = ("A-WASTE-01", "A-WASTE-02")
"""How fast a machine is, is no property of the store."""
MADE_UP = ("A-HYP-004", "A-HYP-005", "A-HYP-006", "A-HYP-007", "A-HYP-008", "A-HYP-009")
"""Items on runs of stages that are not built in this store: see test_predictions.py."""

RESUMED = spoil.log(lambda entries: spoil.again(entries, 5))


def facts(store: Path) -> Facts:
    return gather(find(store, "pretrain"))


def test_a_sound_release_fails_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built)  # evals.data_dir is relative
    made = audit(facts(built / "outputs"))
    assert [found for found in made.having("FAIL") if found[0].id not in OF_THE_MACHINE] == []
    assert made.having("UNKNOWN") == [] and made.releasable and made.grade in "AB"
    apart = {item.id for item, _ in made.having("NOT APPLICABLE")}
    assert apart == {"A-REP-05", "A-REP-16", "A-EVAL-12", "A-SAFE-09", *MADE_UP}
    without = {item.id for item, found in made.having("PASS") if not any(c.isdigit() for c in found.evidence)}
    known = {"A-REP-01", "A-REP-06", "A-REP-09", "A-INV-06", "A-DATA-04", "A-DATA-09"}
    assert without <= known, "evidence has numbers"


def test_every_item_can_fail() -> None:
    assert PLANTS.keys() | {"A-INV-07", *MADE_UP} == ITEMS.keys()
    assert len(ITEMS) >= 40 and {item.severity for item in ITEMS.values()} == {"critical", "major", "minor"}


@pytest.mark.parametrize(("id_", "number"), [(id_, n) for id_, plants in PLANTS.items() for n in range(len(plants))])
def test_what_is_planted_is_found(id_: str, number: int, store: Path) -> None:
    PLANTS[id_][number](store)
    outcome = ITEMS[id_](facts(store))
    assert outcome.verdict == "FAIL", outcome


def test_an_import_that_is_not_declared_is_found(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy", "torch"] if name == "albor" else None)
    outcome = ITEMS["A-INV-07"](facts(built / "outputs"))
    assert outcome.verdict == "FAIL" and "wandb" in outcome.evidence and "numpy" not in outcome.evidence


@pytest.mark.parametrize(
    ("plant", "id_", "verdict", "text"),
    [
        (spoil.remove("eval"), "A-EVAL-02", "UNKNOWN", "no evaluation has measured"),
        (spoil.remove("prepare"), "A-DATA-01", "UNKNOWN", "no prepare run lies in its lineage"),
        (spoil.edit("prepare", lambda made: {"version": 1}), "A-INV-03", "UNKNOWN", "another version"),
        (spoil.artifact("prepare", "sources.json", Path.unlink), "A-DATA-01", "FAIL", "cannot be checked"),
        (spoil.artifact("prepare", "steps.json", lambda path: path.write_text("{")), "A-DATA-06", "FAIL", "is no JSON"),
        (spoil.artifact("prepare", "val-00000.parquet", spoil.longer), "A-DATA-11", "FAIL", "cannot be read as"),
        (spoil.artifact("pretrain", "model.safetensors", Path.unlink), "A-REP-06", "FAIL", "No such file"),
        (spoil.config("pretrain", optim__lrr=1), "A-INV-05", "UNKNOWN", "is not one of this albor's"),
        (RESUMED, "A-REP-16", "PASS", "5 steps, from 240 back to 236, equal to the bit"),
        (spoil.log(lambda entries: []), "A-REP-17", "UNKNOWN", "no training step"),
        (spoil.task("humaneval", "human-eval/x.jsonl.gz"), "A-DATA-09", "PASS", "measured: humaneval"),
        (spoil.task("humaneval", "humaneval.jsonl"), "A-SAFE-09", "PASS", "humaneval: in bubblewrap"),
        (spoil.tasks({}), "A-DATA-09", "NOT APPLICABLE", "measured a benchmark"),
        (spoil.tasks({}), "A-DATA-16", "NOT APPLICABLE", "measured a benchmark"),
        (spoil.tasks({}), "A-EVAL-13", "NOT APPLICABLE", "measured a benchmark"),
        (spoil.tasks({}), "A-EVAL-14", "NOT APPLICABLE", "measured a benchmark"),
        (spoil.tasks({"own": {"kind": "fim_exact"}}), "A-DATA-09", "NOT APPLICABLE", "measured a benchmark"),
        (spoil.tasks({"own": {"kind": "fim"}}), "A-EVAL-14", "UNKNOWN", "is not one of this albor's"),
        (spoil.file("org/name@" + "0" * 40), "A-EVAL-13", "PASS", "santacoder_fim"),
        (spoil.file("org/name@" + "0" * 40), "A-DATA-16", "UNKNOWN", "it came from the Hub"),
        (spoil.another_benchmark, "A-DATA-16", "UNKNOWN", "does not hold the files any more"),
        (spoil.edit("generate", lambda made: {"inputs": {}}), "A-EVAL-02", "UNKNOWN", "no evaluation has measured"),
        (spoil.edit("eval", lambda made: {"inputs": {}}), "A-EVAL-02", "UNKNOWN", "no evaluation has measured"),
        (spoil.config("pretrain", init_from="x"), "A-EVAL-08", "NOT APPLICABLE", "other weights"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(plant: spoil.Spoil, id_: str, verdict: str, text: str, store: Path) -> None:
    plant(store)
    outcome = ITEMS[id_](facts(store))
    assert outcome.verdict == verdict and text in outcome.evidence, outcome


def test_whatever_is_gone_the_audit_comes_to_its_end(store: Path) -> None:
    for stage in ("generate", "prepare", "tokenizer"):
        shutil.rmtree(find(store, stage).directory)
    shutil.rmtree(find(store, "pretrain").directory / "checkpoints")
    shutil.rmtree(find(store, "pretrain").artifact)
    made = audit(facts(store))
    assert made.grade == "F" and {"A-REP-03", "A-REP-06", "A-EVAL-01"} <= {item.id for item, _ in made.having("FAIL")}


@pytest.mark.slow
def test_a_run_that_has_said_nothing_is_audited_to_the_end(store: Path) -> None:
    for stage in ("prepare", "pack", "pretrain"):
        spoil.edit(stage, lambda made: {"status": "interrupted", "facts": {}, "files": {}, "environment": {}})(store)
    made = audit(facts(store))
    assert made.grade == "F" and "A-REP-01" in {item.id for item, _ in made.having("FAIL")}
    for stage in ("prepare", "pack", "pretrain"):
        spoil.config(stage, optim__lrr=1)(store)
    assert audit(facts(store)).grade == "F"


def outcomes(*found: tuple[Severity, Verdict]) -> Audit:
    some = next(iter(ITEMS.values()))
    return Audit("x", tuple((replace(some, severity=severity), Outcome(verdict, "")) for severity, verdict in found))


@pytest.mark.parametrize(
    ("found", "grade"),
    [
        ([("critical", "PASS"), ("major", "NOT APPLICABLE"), ("minor", "UNKNOWN")], "A"),
        ([("critical", "PASS"), ("minor", "FAIL")], "B"),
        ([("major", "UNKNOWN")], "B"),
        ([("major", "FAIL")] * 3, "C"),
        ([("major", "FAIL")] * 4, "D"),
        ([("critical", "UNKNOWN")], "D"),
        ([("critical", "FAIL"), ("critical", "UNKNOWN")], "F"),
    ],
)
def test_the_rule_of_the_grade(found: list[tuple[Severity, Verdict]], grade: str) -> None:
    made = outcomes(*found)
    assert made.grade == grade and made.releasable == (grade != "F")


# --- the command line ---


def test_the_formats(store: Path, albor) -> None:
    run = find(store, "pretrain").directory.name
    text = albor("audit", run)
    assert text.code == 0 and all(id_ in text.out for id_ in ITEMS) and "data governance" in text.out
    assert "grade " in text.out and f"of {len(ITEMS)} items" in text.out
    found = json.loads(albor("audit", run, "--format", "json").out)
    assert found["releasable"] is True and [item["id"] for item in found["items"]] == [*map(str, ids(text.out))]
    assert {"id", "title", "severity", "verdict", "evidence"} == found["items"][0].keys() and found["rule"]["F"]
    page = albor("audit", run, "--format", "markdown").out
    assert page.startswith("# Audit of pretrain/") and page.count("\n| A-") == len(ITEMS)
    critical = albor("audit", run, "--critical-only", "--format", "json")
    assert {item["severity"] for item in json.loads(critical.out)["items"]} == {"critical"}


def ids(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split() if word in ITEMS]


def test_a_release_that_must_not_happen(store: Path, albor) -> None:
    spoil.licence("unknown, 100%: really")(store)
    spoil.artifact("pretrain", "model.safetensors", spoil.flip)(store)
    spoil.environment(git_dirty=True)(store)
    run = find(store, "eval").directory.name  # an evaluation is of its model
    done = albor("audit", run, "--format", "github")
    assert done.code == 1
    lines = done.out.splitlines()
    assert any(line.startswith("::error title=A-REP-03 Every artifact has the bytes") for line in lines)
    assert any(line.startswith("::warning title=A-REP-11 ") for line in lines)
    [licences] = [line for line in lines if "A-DATA-02" in line]
    assert "100%25: really" in licences and lines[-1].startswith("::notice title=albor audit pretrain/")
    done = albor("audit", run, "--critical-only", "--out", "new/audit.txt")
    assert done.code == 1 and done.out.startswith("grade F: ")
    assert "FAIL            A-REP-03" in Path("new/audit.txt").read_text()


def test_bad_words(store: Path, albor) -> None:
    for words, cause in (
        (("audit",), "takes one run"),
        (("audit", "a", "b"), "takes one run"),
        (("audit", "nothing"), "there is no run 'nothing'"),
        (("audit", find(store, "pack").directory.name), "no run that makes a model"),
        (("audit", "x", "--format", "yaml"), "has no choice"),
        (("audit", "x", "--json"), "does not go with"),
    ):
        done = albor(*words)
        assert done.code == 2 and cause in done.err, done.err


def test_the_page_lists_every_item() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    for item in ITEMS.values():
        assert f"| {item.id} | {item.severity} | {item.title} |" in page, item.id
    assert page.count("| A-") == len(ITEMS)


def test_the_run_of_an_evaluation_is_its_model(store: Path) -> None:
    for stage in ("eval", "pretrain"):
        run: Run = gather(find(store, stage)).run
        assert run.manifest.stage == "pretrain"
