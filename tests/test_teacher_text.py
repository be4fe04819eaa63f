"""What a teacher is asked to write, by whatever computes it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from albor.config.schema.config import Config
from albor.data import documents
from albor.data.documents import Document
from albor.data.parquet import shard
from albor.inference.engine import Sampling
from albor.inference.prompts import TextRequest
from albor.inference.text import Answer, EngineWriter
from albor.inference.torch_engine import TorchEngine
from albor.inference.transformers_engine import TransformersEngine
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder
from albor.plan.nodes import Planner
from albor.stages import teacher_text
from tests import foreign
from tests.training.toy import MODEL

TEXT = '''
import math


def area(radius):
    """Of a circle, by its radius.

    >>> round(area(1), 2)
    3.14
    """
    return math.pi * radius**2


def plain(x):
    """Says what it does, and has no tests."""
    return x + 1
'''


def config(planner: Planner, *texts: str) -> Config:
    words = ("stage=teacher_text", "distill=text", "eval.sandbox=none", *texts)
    return planner.plan(words).target.config


@pytest.fixture
def context(tmp_path: Path) -> Any:
    place = tmp_path / "documents"
    place.mkdir()
    documents.write(shard(place, "train", 0), [Document(TEXT, "test", "p", "1", "p/m.py", "MIT")])
    given = {"documents": SimpleNamespace(path=place)}
    return SimpleNamespace(work=tmp_path / "work", inputs=given, progress=lambda done, total, text: None)


class Recites:
    """A writer that gives what it is told to, in tokens as many as characters."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = texts, list[Any]()

    def write(self, requests: Any) -> Any:
        self.asked += requests
        for index in reversed(range(len(requests))):
            text = self.texts[index % len(self.texts)]
            yield index, Answer(text, len(text))


def test_functions_are_asked_for_by_all_up_to_their_docstring(planner: Planner, context: Any) -> None:
    cfg = config(planner, "stage.samples=2")
    asked = teacher_text.functions(cfg, context)
    writer = Recites(
        "    return math.pi * radius * radius\n", "    return 0\n# that is all", "    return x + 1.0", "x" * 999
    )
    found = teacher_text.ask(cfg, writer, asked, first=0)
    assert [request.prompt for request in writer.asked[::2]] == [
        TEXT.lstrip("\n").partition("    return math")[0],
        "def plain(x):\n" + TEXT.partition("def plain(x):\n")[2].partition("    return")[0],
    ]
    assert len({request.seed for request in writer.asked}) == 4
    assert found[3] is None, "it did not come to an end"
    assert found[1] == writer.asked[0].prompt + "    return 0\n"
    kept = teacher_text.passed(cfg, context, [text for text in found if text is not None])
    assert [document.text for document in kept] == [found[0], found[2]], "the other fails its tests"
    assert teacher_text.functions(config(planner, "stage.doctests_only=true"), context) == asked[:1]
    assert teacher_text.functions(config(planner, "stage.max_functions=1"), context) == asked[:1]


def test_what_does_the_same_is_kept_once(planner: Planner, context: Any) -> None:
    cfg = config(planner)
    names = zip("abc", "112", strict=True)
    written = [f'def {name}(x):\n    """Says what it does well."""\n    return x + {n}\n' for name, n in names]
    assert [one.text for one in teacher_text.passed(cfg, context, written)] == [written[0], written[2]]


def test_answers_of_an_earlier_attempt_are_taken(
    planner: Planner, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_text, "GROUP", 1)
    cfg = config(planner)
    asked = teacher_text.functions(cfg, context)
    context.work.mkdir()
    for number in range(len(asked)):
        (context.work / f"answers-{number:05d}.json").write_text(json.dumps([f"earlier {number}"]))
    # There is no teacher here: one that was asked would be missed.
    assert list(teacher_text.answers(cfg, context, asked)) == [["earlier 0"], ["earlier 1"]]


@pytest.mark.parametrize("ours", [True, False])
def test_either_kind_of_teacher_writes(ours: bool, planner: Planner, tmp_path: Path) -> None:
    if ours:
        codec = foreign.codec()
        codec.save(tmp_path)
        torch.manual_seed(0)
        model = MODEL.__class__(**{**vars(MODEL), "vocab_size": codec.vocab_size, "max_position_embeddings": 256})
        save_model(model, Decoder(model).state_dict(), tmp_path, eos_token_id=codec.eos_id)
    else:
        foreign.qwen2(tmp_path)
    writer = teacher_text.writer_of(config(planner, "stage.batch_size=2"), tmp_path)
    assert isinstance(writer, EngineWriter)
    assert isinstance(writer._engine, TorchEngine if ours else TransformersEngine)
    asked = [
        TextRequest(
            prompt="def f(x):\n", sampling=Sampling(temperature=1.0), seed=n, max_new_tokens=12, stop=teacher_text.STOP
        )
        for n in range(3)
    ]
    answers, again = (dict(writer.write(asked)) for _ in range(2))
    assert answers == again and len({answer.text for answer in answers.values()}) == 3
    assert all(answer.tokens is not None and 0 < answer.tokens <= 12 for answer in answers.values())
