"""Answers to functions of a corpus: asked for, drawn from a real model, run for real, paired."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from albor.config.schema.finetune import Preferences
from albor.config.schema.model import Model
from albor.data.documents import Document
from albor.data.functions import candidates
from albor.data.instruction_rows import example
from albor.data.pairs import PairRows, pack
from albor.data.parquet import shards
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe
from albor.evals import checks
from albor.evals.answers import Problem, draw, judge, problems, telling, with_references
from albor.evals.journal import Record
from albor.evals.pairs import pairs
from albor.evals.sandbox.bubblewrap import this_python
from albor.evals.sandbox.program import Limits
from albor.evals.sandbox.workers import Sandbox
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder

pytestmark = pytest.mark.xdist_group("sandbox")
TEXT = '''
def plus(x):
    """One more than what is given.

    >>> plus(1)
    2
    """
    return x + 1

def minus(x):
    """One less than what is given.

    >>> minus(1)
    0
    """
    return x - 1

def untested(x):
    """Nothing is said of what it gives."""
    return x * 3

def wrong(x):
    """Its own tests do not hold.

    >>> wrong(1)
    7
    """
    return x + 2

def idle(x):
    """Its tests hold of anything.

    >>> 1 + 1
    2
    """
    return x + 3
'''
PLUS, MINUS = "def plus(x):\n    return {}\n", "def minus(x):\n    return {}\n"


@pytest.fixture(scope="module")
def codec() -> Codec:
    texts = [inspect.getsource(module) for module in (json, textwrap)]
    return Codec(train_bpe(texts, vocab_size=400), fim=(PREFIX, SUFFIX, MIDDLE))


def check(programs: Sequence[str], what: str) -> list[bool]:
    sandbox = Sandbox(this_python(), Limits(seconds=1.0), contained=shutil.which("bwrap") is not None)
    return checks.check(programs, sandbox, workers=1)


def asked(codec: Codec, *, length: int = 512) -> list[Problem]:
    made = list(problems(candidates([Document(TEXT, "test", "p", "", "p.py", "MIT")]), codec, length=length))
    return [problem for problem in made if problem is not None]


def told(codec: Codec) -> dict[str, Problem]:
    return {problem.function.name: problem for problem in telling(asked(codec), check)}


def answers(problem: Problem, *texts: str) -> list[Record]:
    known = {"problem": problem.id, "prompt": problem.function.instruction}
    return [{**known, "sample": number, "completion": text} for number, text in enumerate(texts)]


def test_only_functions_whose_tests_tell_answers_apart_are_asked_for(codec: Codec) -> None:
    assert {problem.function.name for problem in asked(codec)} == {"plus", "minus", "wrong", "idle"}
    assert told(codec).keys() == {"plus", "minus"}


def test_what_is_too_long_is_told(codec: Codec) -> None:
    whole = asked(codec)
    assert len(whole) == 4 and len(asked(codec, length=40)) == 0
    for problem in whole:
        left = 512 - len(example(codec, problem.function.conversation).tokens)
        assert problem.room == left + len(codec.encode(problem.function.answer))
        assert codec.decode(list(problem.prompt)).endswith("assistant\n")


def test_pairs_are_of_answers_that_ran(codec: Codec, tmp_path: Path) -> None:
    known = told(codec)
    right, other = PLUS.format("x + 1"), PLUS.format("1 + x")
    bad = (
        PLUS.format("x + 2"),
        "not Python at all",
        "raise SystemExit",
        "while True: pass",
        "import os\nos._exit(0)",
        MINUS.format("x + 1"),
        "",
    )
    records = answers(known["plus"], right, other, *bad, right) + answers(known["minus"], "no", "nor this")
    judged = judge(list(known.values()), records, check)
    assert [record["completion"] for record in judged if record["verdict"] == "passed"] == [right, other, right]

    own = list(pairs(judged, per_problem=99))
    assert {pair.chosen for pair in own} == {right.strip(), other.strip()}
    assert {pair.rejected for pair in own} == {text.strip() for text in bad if text}
    assert len(own) == 2 * 6

    both = list(pairs(with_references(list(known.values()), judged), per_problem=99))
    assert both[: len(own)] == own  # a problem that the model solves is learnt from the model's own answers
    assert {(pair.chosen, pair.rejected) for pair in both[len(own) :]} == {
        (MINUS.format("x - 1").strip(), "no"),
        (MINUS.format("x - 1").strip(), "nor this"),
    }

    facts = pack(both, codec, seq_len=256, val_fraction=0.5, seed=1, out=tmp_path)
    assert facts["num_sequences"] + facts["val_sequences"] == len(both) and facts["row_len"] == 512
    assert len(PairRows(shards(tmp_path, "train"))) == facts["num_sequences"]


def test_draws_are_the_same_every_time_and_go_on_where_they_were_cut_off(codec: Codec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = Model(
        name="toy", hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, vocab_size=codec.vocab_size, max_position_embeddings=512,
    )  # fmt: skip
    engine, wanted = TorchEngine(Decoder(shape)), Preferences(samples=3, max_new_tokens=9)

    def drawn(path: Path, seed: int = 7) -> list[Record]:
        return draw(asked(codec), engine, codec, wanted, path, seed=seed)

    first = drawn(tmp_path / "a")
    assert [(record["problem"], record["sample"]) for record in first] == [
        (problem.id, sample) for problem in asked(codec) for sample in range(3)
    ]
    assert len({record["completion"] for record in first}) > 6 and max(record["tokens"] for record in first) == 9
    assert drawn(tmp_path / "b") == first != drawn(tmp_path / "c", seed=8)

    lines = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    assert drawn(tmp_path / "b") == first
