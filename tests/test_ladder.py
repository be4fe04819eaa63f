"""The ladder as real processes, in its smallest form: six rungs, measured alike, loaded by others' code too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from albor.data.tokenizer import Codec
from albor.inference.engine import Request
from albor.inference.opening import open_engine
from albor.runs.store import Run, Store
from tests.command import albor
from tests.small_corpus import SMALL_RUNGS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ladder")]
SMALL = (
    "stage=ladder",
    "debug=default",
    "tracking=none",
    "data.max_documents=300",
    *SMALL_RUNGS,
)
RUNGS = {"base": "pretrain", "distill": "distill", "instruct": "finetune", "merged": "merge", "pruned": "prune",
         "q4": "quantize"}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ladder")
    done = albor(*SMALL, cwd=made)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def rung(place: Path) -> Callable[[str], Run]:
    """The run that made a rung's model."""
    [ladder] = [run for run in Store(place / "outputs").runs() if run.manifest.stage == "ladder"]
    ids = {name: facts["run_id"] for name, facts in ladder.manifest.facts["rungs"].items()}
    return lambda name: Store(place / "outputs").find(ids[name])


def test_every_rung_is_made_of_the_one_before(place: Path, rung: Callable[[str], Run]) -> None:
    made = {name: rung(name).manifest for name in RUNGS}
    assert {name: run.stage for name, run in made.items()} == RUNGS
    inputs = {name: {key: ref.id for key, ref in run.inputs.items()} for name, run in made.items()}
    assert inputs["distill"]["init_from"] == made["base"].id != inputs["distill"]["teacher"]
    assert inputs["instruct"]["init_from"] == made["distill"].id
    assert [inputs["merged"][f"model_{n}"] for n in (1, 2)] == [made["distill"].id, made["instruct"].id]
    assert inputs["pruned"]["model"] == made["merged"].id and inputs["q4"]["model"] == made["pruned"].id


def test_the_page_and_its_table_have_every_rung(place: Path, rung: Callable[[str], Run]) -> None:
    [artifact] = (place / "outputs/ladder").glob("*/artifact")
    page, table = ((artifact / name).read_text() for name in ("index.html", "trajectory.md"))
    for name in RUNGS:
        assert name in page and f"{name}" in table and rung(name).manifest.id in page
    [facts] = [run.manifest.facts for run in Store(place / "outputs").runs() if run.manifest.stage == "ladder"]
    assert all(numbers["ms_per_token"] > 0 and numbers["val_ppl"] > 1 for numbers in facts["rungs"].values())
    assert facts["rungs"]["q4"]["engine"] == "llama.cpp, cpu"


def test_the_second_run_does_nothing(place: Path) -> None:
    again = albor(*SMALL, cwd=place)
    assert again.returncode == 0 and "nothing to do" in again.stderr


def test_rungs_are_smaller_or_alike(rung: Callable[[str], Run]) -> None:
    counts = [rung(name).manifest.facts["parameters"] for name in RUNGS]
    assert counts[0] == counts[1] == counts[2] == counts[3] > counts[4] == counts[5]
    pruned, q4 = rung("pruned").manifest.facts, rung("q4").manifest.facts
    # Reckoned with 33 bytes for each token of the vocabulary, which here is a good part of the file.
    assert q4["bytes"] <= 125_000 and pruned["savings"]["bytes"] == pytest.approx(q4["bytes"], rel=0.1)


@pytest.mark.parametrize("name", [name for name in RUNGS if name != "q4"])
def test_transformers_computes_the_same(name: str, rung: Callable[[str], Run]) -> None:
    from transformers import AutoModelForCausalLM

    artifact = rung(name).artifact
    codec, engine = Codec.of_model(artifact), open_engine(artifact)
    prompt = tuple(codec.encode("def main(argv):\n    "))
    theirs = AutoModelForCausalLM.from_pretrained(artifact, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    for token in (5, 99, int(expected.argmax())):
        [(found, _)] = engine.loglikelihood([(prompt, [token])])
        assert found == pytest.approx(float(expected[token]), abs=1e-3)


def test_llama_cpp_writes_with_the_last(rung: Callable[[str], Run]) -> None:
    artifact = rung("q4").artifact
    codec, engine = Codec.of_model(artifact), open_engine(artifact)
    request = Request(prompt=tuple(codec.encode("def ")), max_new_tokens=8)
    [(_, ids)] = engine.generate([request])
    assert 0 < len(ids) <= 8 and codec.decode(ids)


def test_a_template_comes_with_those_that_answer(rung: Callable[[str], Run]) -> None:
    there = {name for name in RUNGS if (rung(name).artifact / "chat_template.jinja").exists()}
    assert there == {"instruct", "merged", "pruned", "q4"}


def test_predictions_have_something_to_judge(place: Path) -> None:
    done = albor("falsify", "--json", cwd=place)
    judged: dict[str, Any] = {entry["id"]: entry for entry in json.loads(done.stdout)}
    assert judged["FALSIFY-ALBOR-009"]["verdict"] != "UNTESTED"


def test_it_is_released_with_the_numbers_of_its_evaluations(place: Path, rung: Callable[[str], Run]) -> None:
    [ladder] = [run for run in Store(place / "outputs").runs() if run.manifest.stage == "ladder"]
    done = albor("release", ladder.directory.name, "--out", "released", cwd=place)
    assert done.returncode == 0, done.stderr
    notes = (place / "released" / "RELEASE.md").read_text()
    for name in RUNGS:
        measured = Store(place / "outputs").find(ladder.manifest.inputs[name].id)
        numbers = json.loads((measured.artifact / "eval.json").read_text())
        expected = {("held-out rows", key): numbers[key] for key in ("val_ppl", "val_bits_per_byte")}
        expected |= {
            (task, metric): found["value"]
            for task, scores in numbers.get("scores", {}).items()
            for metric, found in scores.items()
            if isinstance(found, dict) and "value" in found
        }
        card = ModelCard.load(place / "released" / f"{name}.md")
        assert {(it.dataset_name, it.metric_type): it.metric_value for it in card.data.eval_results} == expected, name
        assert rung(name).directory.name in notes and measured.manifest.id in card.text
        assert "FALSIFY-ALBOR-009" in card.text and "An estimate" in card.text and "PSF-2.0" in card.text
    assert albor("drift", cwd=place).returncode == 0
    assert "nothing to free" in albor("gc", cwd=place).stdout
