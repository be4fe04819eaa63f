"""A student of a teacher with another tokenizer, as real processes: a tiny Qwen2 that transformers computes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from albor.data.alignment import UNSCORED, spellings
from albor.data.logits import SPLIT, Logits
from albor.data.parquet import shards
from albor.data.rows import Rows
from albor.data.tokenizer import Codec
from albor.runs.store import Run, Store
from tests import foreign
from tests.command import albor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("other-tokens")]
SMALL = (
    "stage=distill",
    "teacher=hf",
    "teacher.repo=teacher",
    "teacher.vocab_size=640",
    "teacher.parameters=100k",
    "teacher.context=4096",
    "debug=default",
    "tracking=none",
    "data.max_documents=20",
    "tokenizer.vocab_size=512",
    "model.vocab_size=512",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("other")
    foreign.qwen2(made / "teacher")
    return made


def made(place: Path, stage: str) -> Run:
    [run] = [run for run in Store(place / "outputs").runs() if run.manifest.stage == stage]
    return run


def test_its_distributions_are_refused_with_the_ways_out(place: Path) -> None:
    done = albor(*SMALL, "distill=forward_kl", cwd=place)
    assert done.returncode == 2 and "C-DISTILL-001" in done.stderr
    assert "distill=alignment" in done.stderr and "distill=text" in done.stderr


def test_a_student_learns_from_likelihoods(place: Path) -> None:
    done = albor(*SMALL, "distill=alignment", cwd=place)
    assert done.returncode == 0, done.stderr
    facts = made(place, "teacher_logits").manifest.facts
    assert facts["keep"] == "chunks" and facts["check"]["max_difference"] <= 1e-4
    assert facts["chunks"] > 10 * facts["chunks_left_out"]
    text = (made(place, "distill").directory / "metrics.jsonl").read_text()
    found = [line["divergence"] for line in map(json.loads, text.splitlines()) if "divergence" in line]
    assert len(found) == 10 and min(found) >= 0


def test_what_is_stored_is_what_transformers_says(place: Path) -> None:
    """Plain pieces at the beginning of a row, each read alone and by others' code."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(place / "teacher", dtype=torch.float32).eval()
    teacher, student = Codec.of_model(place / "teacher"), Codec.load(made(place, "tokenizer").artifact)
    rows = Rows(shards(made(place, "pack").artifact, "train"))
    stored = Logits(shards(made(place, "teacher_logits").artifact, SPLIT))
    known, theirs = spellings(student, "student"), spellings(teacher, "teacher")
    compared = 0
    for row in range(200):
        tokens, ends = rows.read(np.array([row]))
        (marks,) = stored.read(np.array([row]), 64)
        own = [known[token] or b"" for token in tokens[0, : ends[0][0]].tolist()]
        if not all(own) or not (raw := b"".join(own)).isascii():
            continue  # it has control tokens
        ids = [teacher.eos_id, *teacher.encode(raw.decode())]
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1).double()
        said = scores.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
        own_ends, their_ends = (np.cumsum([len(part) for part in parts]).tolist()
                                for parts in (own, [theirs[token] or b"" for token in ids[1:]]))  # fmt: skip
        common = [(own_ends.index(end), their_ends.index(end)) for end in own_ends if end in their_ends]
        for (_, start), (place_, stop) in pairwise([(-1, -1), *common]):
            if start >= 0:  # a row's first token is predicted by nobody
                assert marks[0, place_ - 1, 0] == pytest.approx(float(said[start + 1 : stop + 1].sum()), abs=1e-4)
                compared += 1
        assert (marks[0, : len(own) - 1, 0] <= UNSCORED).sum() == len([place_ for place_, _ in common if place_])
    assert compared > 500
