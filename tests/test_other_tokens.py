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
    "data.max_documents=10",
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


def test_vllm_that_is_not_there_is_missed_before_anything_is_made(place: Path) -> None:
    done = albor(*SMALL, "distill=alignment", "teacher.backend=vllm", cwd=place)
    assert done.returncode == 2 and "pip install vllm" in done.stderr and not (place / "outputs").exists()


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


# --- text that the teacher writes ---

WRONG = 13
"""The number of the function that the teacher has learnt wrongly."""


def function(number: int, more: str = "") -> str:
    return (
        f'def add_{number}(x):\n    """Adds {number} to what it is given.\n\n'
        f'    >>> add_{number}(1)\n    {number + 1}\n    """\n    return x + {number}{more}\n'
    )


TEXT = (
    "stage=distill",
    "distill=text",
    "teacher=hf",
    "teacher.repo=taught",
    "teacher.vocab_size=640",
    "teacher.parameters=100k",
    "teacher.context=4096",
    "debug=default",
    "tracking=none",
    "data=local",
    "data.source.roots=[corpus]",
    "data.source.licence=MIT",
    "data.dedup.near=false",
    "data.max_documents=null",
    "tokenizer.vocab_size=300",
    "model.vocab_size=300",
    "eval.sandbox=none",
    "distill.text_share=0.4",
    "trainer.max_steps=5",
    "trainer.val_every=5",
    "up.teacher_text.stage.temperature=0",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of functions and a teacher that knows them by heart, but for one; nobody asks for `double`, whose
    docstring says too little."""
    place = tmp_path_factory.mktemp("text")
    numbers = range(11, 35)
    for number in numbers:
        package = place / "corpus" / f"package{number}"
        package.mkdir(parents=True)
        rest = "".join(f"def double_{n}(value):\n    return value * {n} + {number}\n\n\n" for n in range(8))
        (package / "module.py").write_text(f"{rest}{function(number)}")
    foreign.learns(
        foreign.qwen2(place / "taught"), [function(n, " - 1" if n == WRONG else "") for n in numbers], steps=400
    )
    return place


def test_a_student_reads_what_its_teacher_wrote(library: Path) -> None:
    done = albor(*TEXT, cwd=library)
    assert done.returncode == 0, done.stderr
    run = made(library, "teacher_text")
    facts, packed = run.manifest.facts, made(library, "pack")
    asked = made(library, "prepare").manifest.facts["documents"]["train"]
    assert facts["asked"] == facts["written"] == asked and asked - 5 <= facts["passed"] < asked
    assert facts["text_share"] == pytest.approx(0.4, abs=0.05)
    assert facts["text_tokens"] + facts["replay_tokens"] == facts["tokens"]
    student = Codec.load(made(library, "tokenizer").artifact)
    rows, before = (Rows(shards(place.artifact, "train")) for place in (run, packed))
    tokens, ends = rows.read(np.arange(len(rows)))
    read = "".join(student.decode(row[: end[-1]]) for row, end in zip(tokens.tolist(), ends, strict=True))
    assert read.count("- 1") == 0 and "double_" in read
    known = {row.tobytes() for row in before.read(np.arange(len(before)))[0]}
    replayed = [row.tobytes() in known for row in tokens]
    assert 0 < sum(replayed) < len(replayed)
    for key in ("val_tokens", "val_bytes", "val_sequences"):
        assert facts[key] == packed.manifest.facts[key]
    assert [path.read_bytes() for path in shards(run.artifact, "val")] == [
        path.read_bytes() for path in shards(packed.artifact, "val")
    ]
    assert made(library, "distill").manifest.facts["val_bits_per_byte"] > 0


def test_a_teacher_whose_functions_all_fail_is_said(library: Path) -> None:
    foreign.qwen2(library / "untaught", seed=3)
    done = albor(*TEXT, "teacher.repo=untaught", cwd=library)
    assert done.returncode != 0 and "none passed" in done.stderr and "Traceback" not in done.stderr
