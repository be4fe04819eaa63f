"""Examples, then preferences, as real processes in their smallest form: answers are run, and learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from albor.data.loader import IGNORE, sequential
from albor.data.pairs import PairRows
from albor.data.parquet import shards
from albor.inference.opening import open_engine
from albor.runs.store import Run, Store
from tests.command import albor, succeeds
from tests.small_corpus import TINY, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("preferences")]
HALF = 256
"""Tokens of a conversation."""
SMALL = (
    "stage=finetune",
    "objective=dpo",
    *TINY,
    f"data.seq_len={2 * HALF}",
    f"up.preferences.data.seq_len={2 * HALF}",
    "up.instruct.stage.of=pretrain",
    f"up.instruct.data.seq_len={HALF}",
    f"up.instructions.data.seq_len={HALF}",
    "instructions.max_examples=40",
    "preferences.samples=3",
    "preferences.max_problems=8",
    "preferences.max_new_tokens=16",
    "trainer.max_steps=8",
    "trainer.epochs=2",
    "trainer.micro_batch_size=4",
    "optim.lr=2e-3",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("preferences")
    write_corpus(made)
    succeeds(*SMALL, cwd=made)
    return made


def runs(place: Path, stage: str) -> list[Run]:
    """Those of a stage, oldest first."""
    found = [run for run in Store(place / "outputs").runs() if run.manifest.stage == stage]
    return sorted(found, key=lambda run: str(run.manifest.started))


def test_the_model_that_answers_is_the_one_that_learns(place: Path) -> None:
    taught, preferring = runs(place, "finetune")
    [made] = runs(place, "preferences")
    assert [run.manifest.config["objective"]["kind"] for run in (taught, preferring)] == ["sft", "dpo"]
    assert made.manifest.inputs["init_from"].id == preferring.manifest.inputs["init_from"].id == taught.manifest.id
    assert preferring.manifest.inputs["rows"].id == made.manifest.id
    assert (preferring.artifact / "chat_template.jinja").exists()


def test_every_answer_is_accounted_for(place: Path) -> None:
    [made] = runs(place, "preferences")
    facts = made.manifest.facts
    assert facts["functions_with_doctests"] == 5 * 16 and facts["problems"] == 8 and facts["answers"] == 3 * 8
    kinds = ("problems_with_both", "problems_all_passed", "problems_none_passed")
    assert sum(facts[kind] for kind in kinds) == facts["problems"]
    lines = [json.loads(line) for line in (made.artifact / "answers.jsonl").read_text().split("\n") if line]
    assert len(lines) == facts["answers"]
    assert sum(line["verdict"] == "passed" for line in lines) == facts["answers_passed"]


def test_what_passed_becomes_likelier_than_what_did_not(place: Path) -> None:
    taught, preferring = runs(place, "finetune")
    [made] = runs(place, "preferences")
    rows = PairRows(shards(made.artifact, "train"))
    assert len(rows) == made.manifest.facts["num_sequences"] > 8
    asked = []
    for tokens, labels in sequential(rows, batch_size=1, seq_len=2 * HALF):
        for line, targets in zip(tokens.reshape(2, -1), labels.reshape(2, -1), strict=True):
            learnt = (targets != IGNORE).nonzero()[0]
            asked.append((line[: learnt[0] + 1].tolist(), targets[learnt].tolist()))

    def margins(run: Run) -> list[float]:
        found = [value for value, _ in open_engine(run.artifact).loglikelihood(asked)]
        return [chosen - rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True)]

    gained = [after - before for before, after in zip(margins(taught), margins(preferring), strict=True)]
    assert sum(gained) / len(gained) > 5 and sum(value > 0 for value in gained) > 0.9 * len(gained)
    metrics = [json.loads(line) for line in (preferring.directory / "metrics.jsonl").read_text().splitlines()]
    logged = [line["margin"] for line in metrics if "margin" in line]
    assert logged[0] == pytest.approx(0, abs=1e-3) and logged[-1] > 1


def test_the_second_run_does_nothing(place: Path) -> None:
    again = albor(*SMALL, cwd=place)
    assert again.returncode == 0 and "nothing to do" in again.stderr


def test_where_nothing_passes_and_nothing_else_may_be_preferred_it_says_so(place: Path) -> None:
    done = albor(*SMALL, "preferences.reference=false", cwd=place)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error[E-DATA] no pair to learn from: of 24 answers to 8 problems 0 passed" in done.stderr
    for way in ("preferences.samples=12", "up.instruct.KEY", "preferences.reference=true"):
        assert way in done.stderr
    failed = [run for run in runs(place, "preferences") if run.manifest.status != "done"]
    assert [run.manifest.status for run in failed] == ["failed"] and not failed[0].artifact.exists()


def test_where_no_function_is_short_enough_it_says_so(place: Path) -> None:
    done = albor(*SMALL, "data.seq_len=64", "up.preferences.data.seq_len=64", cwd=place)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "error[E-DATA] no problem to answer: of 80 functions with doctests in the corpus, 80 are longer" in done.stderr
    )
    assert "data.seq_len=128 up.preferences.data.seq_len=128" in done.stderr
