"""Records of benchmarks in another format: refused with what is wrong, never a traceback."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from albor.config.schema.config import Config
from albor.config.schema.task import Ds1000, LmEval, Mbpp
from albor.errors import AlborError
from albor.evals import files, harness
from albor.evals.tasks import judge_of
from albor.stages.generate import identity

MBPP = {"task_id": 11, "text": "t", "code": "x", "test_list": ["assert True"], "test_setup_code": ""}


@pytest.mark.parametrize("change", [{"task_id": "Mbpp/2"}, {"task_id": [1]}, {"test_list": "assert True"}])
def test_a_record_of_another_format_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AlborError) as refused:
        judge_of(Mbpp(style="docstring"), 0).problems([MBPP | change])
    assert refused.value.code == "E-DATA"


def test_ds1000_without_its_libraries_is_refused() -> None:
    row = {"prompt": "p", "reference_code": "r", "code_context": "c", "metadata": {"problem_id": 1}}
    with pytest.raises(AlborError, match="no field 'library'"):
        judge_of(Ds1000(), 0).problems([row])


@pytest.mark.parametrize(
    ("task", "text", "labels", "said"),
    [
        ("arc_easy", json.dumps({"question": "q"}), "", "no field 'choices'"),
        ("arc_easy", json.dumps({"question": "q", "choices": ["a"], "gold": 1}), "", "choice 1 of 1"),
        ("hellaswag", "q\nx\n1\n2\n3\n4\n", "", "line 2 is no ending's number"),
        ("piqa", json.dumps({"goal": "g", "sol1": "a", "sol2": "b"}), "0\n1\n", "no list of 1 numbers"),
        ("piqa", json.dumps({"goal": "g", "sol1": "a"}), "0\n", "no field 'sol2'"),
    ],
)
def test_items_of_another_format_are_refused(task: Any, text: str, labels: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text(text)
    files.labels(path).write_text(labels)
    with pytest.raises(AlborError, match=said):
        harness.write_task(task, LmEval(task=task), [path], tmp_path / "out")


def test_other_answers_to_piqa_are_another_evaluation(tmp_path: Path) -> None:
    spec = LmEval(task="piqa", file="valid.jsonl")
    given = SimpleNamespace(task={"piqa": spec}, evals=SimpleNamespace(data_dir=str(tmp_path)))
    (tmp_path / "valid.jsonl").write_text("{}")
    found = []
    for labels in ("0", "1"):
        (tmp_path / "valid-labels.lst").write_text(labels)
        found.append(identity(cast(Config, given)))
    assert found[0] != found[1]
    given.task = {"piqa": replace(spec, task="lambada")}
    assert list(identity(cast(Config, given))) == ["task.piqa"]
