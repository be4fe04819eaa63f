"""The submission's folder: its names, what is in it, and what is not taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from albor.errors import AlborError
from albor.evals import journal
from albor.evals.leaderboard import PROBLEMS, bundle, grouped

SPEC = {"kind": "humaneval", "temperature": 0.2, "top_p": 0.95, "max_length": 512}


def evaluation(place: Path, *tasks: str, samples: int = 50) -> tuple[dict[str, Any], dict[str, Any]]:
    """An evaluation's completions of two problems; its config and scores."""
    for task in tasks:
        records = [
            {"problem": problem, "sample": n, "prompt": f"def {problem}():", "completion": f"\n    return {n}"}
            for problem in ("first", "second")
            for n in range(samples)
        ]
        journal.write(place / "generations" / f"{task}.jsonl", records)
    value = {"value": 0.25, "low": 0.1, "high": 0.4}
    scores = {t: {"problems": PROBLEMS[t], "samples": samples, "pass@1": value, "pass@10": value} for t in tasks}
    return {"task": dict.fromkeys(tasks, SPEC)}, scores


def made(place: Path, *tasks: str, **more: Any) -> Path:
    config, scores = evaluation(place, *tasks)
    names = {"org": "acme", "model": "albor-350m", "user": "ada"}
    return bundle(place, config, scores, **{**names, "out": place / "out", **more})


def test_the_folder_is_the_boards(tmp_path: Path) -> None:
    folder = made(tmp_path, "humaneval", "multipl_e_js")
    assert folder == tmp_path / "out/community_results/acme_albor-350m_ada"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))
    assert files == [
        "acme_albor-350m_ada.json",
        "generations_albor-350m/generations_humaneval_albor-350m.json",
        "generations_albor-350m/generations_multiple-js_albor-350m.json",
        "metrics_albor-350m/metrics_humaneval_albor-350m.json",
        "metrics_albor-350m/metrics_multiple-js_albor-350m.json",
    ]
    said = json.loads((folder / files[0]).read_text())
    assert said["meta"] == {"model": "acme/albor-350m"}
    assert said["results"] == grouped(folder / "metrics_albor-350m")
    assert said["results"] == [{"task": "humaneval", "pass@1": 0.25}, {"task": "multiple-js", "pass@1": 0.25}]
    programs = json.loads((folder / files[1]).read_text())
    assert [len(of) for of in programs] == [50, 50]
    assert programs[0][3] == "def first():\n    return 3"
    metrics = json.loads((folder / files[3]).read_text())
    assert metrics["humaneval"] == {"pass@1": 0.25, "pass@10": 0.25}
    assert metrics["config"]["n_samples"] == 50 and metrics["config"]["temperature"] == 0.2


def test_what_exists_is_kept(tmp_path: Path) -> None:
    folder = made(tmp_path, "humaneval")
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(AlborError, match="exists"):
        made(tmp_path, "humaneval")
    assert (folder / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("flag", ["org", "model", "user"])
@pytest.mark.parametrize("value", ["a_b", "../x", "", "a/b", ".hidden"])
def test_names_that_the_board_would_split_are_refused(tmp_path: Path, flag: str, value: str) -> None:
    with pytest.raises(AlborError, match="cannot stand in the names"):
        made(tmp_path, "humaneval", **{flag: value})
    assert not (tmp_path / "out").exists()


def test_other_parameters_than_the_boards_are_refused(tmp_path: Path) -> None:
    config, scores = evaluation(tmp_path, "humaneval", samples=3)
    config["task"]["humaneval"] = SPEC | {"temperature": 0.8}
    with pytest.raises(AlborError) as refused:
        bundle(tmp_path, config, scores, org="a", model="b", user="c", out=tmp_path)
    assert "temperature 0.8 instead of 0.2, 3 samples a problem instead of 50" in refused.value.cause
    assert "eval=leaderboard" in str(refused.value.help)
    config, scores = evaluation(tmp_path, "humaneval")
    scores["humaneval"]["problems"] = 20  # eval.limit=20
    with pytest.raises(AlborError, match="20 problems instead of 164"):
        bundle(tmp_path, config, scores, org="a", model="b", user="c", out=tmp_path)
    with pytest.raises(AlborError, match="no task of the board"):
        bundle(tmp_path, {"task": {"mbpp": SPEC}}, {"mbpp": {}}, org="a", model="b", user="c", out=tmp_path)
