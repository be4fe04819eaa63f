"""`albor card` and `albor release` of a model that was really made: every number is the evaluation's."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard as TheirCard
from huggingface_hub import metadata_load

from albor.audit.notes import Chosen, pages_of
from albor.cli.arguments import Arguments
from albor.report.formats import fact, size
from albor.runs import manifest
from albor.runs.files import atomic_directory
from albor.runs.store import Run
from tests.audit import spoil
from tests.conftest import Outcome

pytestmark = pytest.mark.xdist_group("audit")


@pytest.fixture
def on(albor: Callable[..., Outcome], store: Path) -> Callable[..., Outcome]:
    return lambda verb, *words: albor(verb, *words, f"outputs={store}")


def edit(run: Run, **changes: Any) -> None:
    manifest.save(run.directory, replace(run.manifest, **changes))


def numbers_of(evaluation: Run) -> dict[tuple[str, str], float]:
    found = json.loads((evaluation.artifact / "eval.json").read_text())
    numbers = {("held-out rows", key): found[key] for key in ("val_ppl", "val_bits_per_byte")}
    for task, score in found["scores"].items():
        numbers |= {(task, key): it["value"] for key, it in score.items() if isinstance(it, dict) and "value" in it}
    return numbers


def test_every_number_of_the_card_is_the_evaluation_s(on, run_of, tmp_path: Path) -> None:
    run, evaluation = run_of("pretrain"), run_of("eval")
    expected = numbers_of(evaluation)
    assert len(expected) >= 3
    done = on("card", run.directory.name, "--out", "card", "--licence", "Apache-2.0")
    assert done.code == 0 and "card/README.md" in done.out, done.text
    path = tmp_path / "card" / "README.md"
    head, card = metadata_load(path), TheirCard.load(path)
    assert head is not None and head == card.data.to_dict() and head["license"] == "apache-2.0"
    assert {(it.dataset_name, it.metric_type): it.metric_value for it in card.data.eval_results} == expected
    table = card.text.split("## Evaluation")[1].split("##")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    shown = {(task.replace("\\", ""), metric.replace("\\", "")): value for task, metric, value, *_ in rows[1:]
             if task != "---"}  # fmt: skip
    assert shown.keys() == expected.keys()
    for key, value in expected.items():
        percent = f"{100 * value:.1f}%"
        assert shown[key].split(" (")[0] == (fact(value) if key[0] == "held-out rows" else percent), key
    assert evaluation.manifest.id in table
    for word in ("## Contracts", "C-TRAINCFG-001", "## Predictions", "FALSIFY-ALBOR-009", "PSF-2.0", "An estimate",
                 str(run.manifest.digest)[:12], "CPython", run.manifest.command):  # fmt: skip
        assert word in card.text, word
    assert str(tmp_path) not in card.text and "2 × cpu" not in card.text and "1 × cpu" in card.text


def test_energy_can_be_assumed_otherwise(on, run_of) -> None:
    name = run_of("pretrain").directory.name

    def grams(*words: str) -> float:
        found = re.search(r"kWh and ([\d.e-]+) g of CO2", on("card", name, *words).out)
        assert found is not None
        return float(found[1])

    assert grams("hardware.pue=3.12") == pytest.approx(2 * grams(), rel=0.01)
    assert grams("hardware.power=150", "hardware.carbon_intensity=44.5") == pytest.approx(grams(), rel=0.01)
    assert grams("hardware.carbon_intensity=0") == 0
    for words, cause in (
        (("hardware.mfu=1",), "says nothing of a run that is done"),
        (("hardware.pue=0.5",), "is no such number"),
        (("hardware.power=0",), "is no such number"),
        (("hardware.power=x",), "is no such number"),
        (("optim.lr=1",), "does not concern the runs"),
    ):
        done = on("card", name, *words)
        assert done.code == 2 and cause in done.err, (words, done)


def test_what_is_let_through_is_named(on, run_of, store: Path) -> None:
    run = run_of("pretrain")
    trainer = {**run.manifest.config["trainer"], "epochs": 1, "max_steps": 10**6}
    edit(run, config={**run.manifest.config, "trainer": trainer})
    assert "| C-TRAINCFG-001 | broken |" in on("card", run.directory.name).out
    edit(run, config={**run.manifest.config, "trainer": trainer, "allow": ["C-TRAINCFG-001"]},
         allowed=["C-TRAINCFG-001"])  # fmt: skip
    assert "| C-TRAINCFG-001 | let through |" in on("card", run.directory.name).out


def test_without_an_evaluation_it_says_so(on, run_of, store: Path) -> None:
    shutil.rmtree(run_of("eval").directory)
    out = on("card", run_of("pretrain").directory.name).out
    assert "It has not been evaluated" in out and "model-index" not in out


def test_an_evaluation_of_other_weights_is_none(on, run_of) -> None:
    spoil.given("generate", "model", digest="0" * 64)(run_of("eval").directory.parents[1])
    assert "It has not been evaluated" in on("card", run_of("pretrain").directory.name).out


def test_what_is_gone_upstream_is_said(on, run_of) -> None:
    digest = str(run_of("prepare").manifest.digest)
    shutil.rmtree(run_of("prepare").directory)
    out = on("card", run_of("pretrain").directory.name).out
    assert "What it was trained on is not recorded here: the files of its corpus are gone." in out
    assert f"({digest[:12]})" in out and "Gone, and known" in out


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda run: shutil.copy(run.artifact / "config.json", run.artifact / "x"), None),
        (lambda run: edit(run, status="interrupted"), "is interrupted, not done"),
        (lambda run: (run.artifact / "model.safetensors").unlink(), "its model is damaged: model.safetensors"),
    ],
)
def test_a_card_is_of_a_model_that_is_done_and_whole(change, cause: str | None, on, run_of) -> None:
    run = run_of("pretrain")
    change(run)
    done = on("card", run.directory.name)
    assert done.code == (2 if cause else 0) and (cause or "") in done.err, done.err


@pytest.mark.parametrize("verb", ["card", "release"])
def test_what_is_no_model_has_no_card(verb: str, on, run_of, tmp_path: Path) -> None:
    for stage, makes in (("pack", "rows"), ("eval", "evaluation")):
        done = on(verb, run_of(stage).directory.name)
        assert done.code == 2 and f"makes {makes}, and no model" in done.err
    assert on(verb).code == 2 and on(verb, "nothing-like-it").code == 2
    assert not (tmp_path / "release").exists()


def test_a_release_is_whole_and_says_what_is_in_it(on, run_of, store: Path, tmp_path: Path) -> None:
    run = run_of("pretrain")
    name = run.directory.name
    done = on("release", name, "--out", "out/one")
    assert done.code == 0, done.err
    place = tmp_path / "out" / "one"
    names = {path.name for path in place.iterdir()}
    assert names == {"RELEASE.md", "release.json", "MODELS.sha256", "SHA256SUMS", f"{name}.md"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one"], "nothing beside it"
    assert sums(place / "SHA256SUMS", place) == names - {"SHA256SUMS"}
    assert sums(place / "MODELS.sha256", store) == {f"pretrain/{name}/artifact/{file}" for file in run.manifest.files}
    assert (place / f"{name}.md").read_text() == on("card", name).out
    notes = (place / "RELEASE.md").read_text()
    for word in ("## Trajectory", "## Licences", "PSF-2.0", "## Known limits", "## Made again", run.manifest.command):
        assert word in notes, word
    weights = size((run.artifact / "model.safetensors").stat().st_size)
    assert f" | {weights} | not said | [{name}.md]" in notes, "as the trajectory has it, without the tokenizer"
    assert notes.split("## Trajectory")[1].split("##")[0].count(f" | {weights} | ") == 1
    again = on("release", name, "--out", "out/one")
    assert again.code == 2 and "there is something in" in again.err

    evaluation = run_of("eval")
    facts = {**evaluation.manifest.facts, "val_ppl": evaluation.manifest.facts["val_ppl"] * 1.5}
    edit(evaluation, facts=facts)
    assert on("release", name, "--out", "out/two", "--since", "out/one").code == 0
    changed = (tmp_path / "out" / "two" / "RELEASE.md").read_text().split("## What changed")[1].split("##")[0]
    assert "The same to the bit" in changed and "+50.0%" in changed and "| the same |" in changed


def test_a_release_says_which_albor_made_it(on, run_of, tmp_path: Path) -> None:
    run = run_of("pretrain")
    edit(run, environment={**run.manifest.environment, "git_commit": "c0ffee", "git_dirty": True, "lock_sha256": None})
    assert on("release", run.directory.name).code == 0
    notes = (tmp_path / "release" / "RELEASE.md").read_text()
    assert "| its commit | `c0ffee with changes` |" in notes
    assert "| its requirements.lock, SHA-256 | not recorded |" in notes


@pytest.mark.parametrize(
    ("given", "fix"),
    [("nope", "other for any other"), ("apache2.0", "did you mean apache-2.0?"), ("GPL-3.0-only", "mean gpl-3.0?")],
)
@pytest.mark.parametrize("verb", ["card", "release"])
def test_a_licence_that_the_hub_does_not_know(verb: str, given: str, fix: str, albor, tmp_path: Path) -> None:
    done = albor(verb, "some-run", "--licence", given)
    assert done.code == 2 and done.err.startswith(f"error[E-VALUE] '{given}' is no licence that the Hub knows")
    assert "--> --licence" in done.err and fix in done.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["card", "release"])
def test_a_place_that_cannot_be_written_is_told_with_its_flag(verb: str, on, run_of, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = on(verb, run_of("pretrain").directory.name, "--out", "file/deep/there")
    assert done.code == 1 and "--> file/deep/there" in done.err
    assert "help: choose another place: --out DIR" in done.err and "outputs=DIR" not in done.err


def test_a_card_is_not_written_over_a_file_that_was_meant_as_a_directory(on, run_of, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    done = on("card", run_of("pretrain").directory.name, "--out", "README.md")
    assert done.code == 2 and "README.md is a file; --out takes a directory" in done.err
    assert "--> README.md\n" in done.err and (tmp_path / "README.md").read_text() == "mine"


def sums(path: Path, place: Path) -> set[str]:
    """The files that a list of checksums names, each held against its bytes."""
    names = set()
    for line in path.read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest
        names.add(name)
    return names


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 1}', '{"schema": 1, "rungs": [{}], "title": ""}'])
def test_an_earlier_release_that_cannot_be_read(content: str | None, on, run_of, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    if content is not None:
        (tmp_path / "before" / "release.json").write_text(content)
    done = on("release", run_of("pretrain").directory.name, "--since", "before")
    assert done.code == 2 and "the earlier release cannot be read" in done.err and not (tmp_path / "release").exists()


def test_an_earlier_release_of_another_schema(on, run_of, tmp_path: Path) -> None:
    (tmp_path / "release.json").write_text('{"schema": 7}')
    done = on("release", run_of("pretrain").directory.name, "--since", "release.json")
    assert done.code == 2 and "a release of schema 7; this albor reads 1" in done.err


def test_a_damaged_model_is_not_released(on, run_of, tmp_path: Path) -> None:
    path = run_of("pretrain").artifact / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b'"version"', b'"Version"', 1))
    done = on("release", run_of("pretrain").directory.name)
    assert done.code == 2 and not (tmp_path / "release").exists(), done.text


def test_a_directory_is_written_whole_or_not(tmp_path: Path) -> None:
    def attempt() -> None:
        with atomic_directory(tmp_path / "x") as place:
            (place / "a").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        attempt()
    assert list(tmp_path.iterdir()) == []
    with atomic_directory(tmp_path / "x") as place:
        (place / "a").write_text("whole")
    assert (tmp_path / "x" / "a").read_text() == "whole"
    with pytest.raises(FileExistsError), atomic_directory(tmp_path / "x") as place:
        (place / "a").write_text("another")
    assert (tmp_path / "x" / "a").read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_names_of_rungs_lead_nowhere(run_of) -> None:
    names = ("../../etc/passwd", "a b", "A-B", "release", "ü", "")
    pages = pages_of([Chosen(name, run_of("pretrain")) for name in names])
    assert pages == ["etc-passwd.md", "a-b.md", "A-B-2.md", "release-2.md", "model.md", "model-2.md"]
    assert Arguments().out is None
