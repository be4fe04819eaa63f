"""``albor leaderboard``: an evaluation that exists becomes the folder that the board takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from albor.runs import manifest
from albor.runs.manifest import InputRef, Manifest
from tests.evals.test_leaderboard import evaluation

NAMES = ("--org", "acme", "--model", "albor-350m", "--user", "ada")
Albor = Callable[..., Any]


def run(stage: str, name: str, **more: Any) -> Manifest:
    fields: dict[str, Any] = {"version": 1, "label": "m", "status": "done", "command": "", "config": {}}
    return Manifest(stage=stage, id=name, **{**fields, **more})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An evaluation, and the completions that it is of."""
    said, judged = tmp_path / "outputs/generate/m-0a0a", tmp_path / "outputs/eval/m-1b1b"
    for directory in (said, judged):
        (directory / "artifact").mkdir(parents=True)
    config, scores = evaluation(judged / "artifact", "humaneval")
    manifest.save(said, run("generate", "0a0a", config=config))
    made = run(
        "eval",
        "1b1b",
        files=manifest.artifact_files(judged / "artifact"),
        inputs={"generations": InputRef(stage="generate", id="0a0a", path="../../generate/m-0a0a/artifact")},
        facts={"scores": scores},
    )
    manifest.save(judged, made)
    return tmp_path


def test_an_evaluation_becomes_a_submission(albor: Albor, store: Path) -> None:
    done = albor("leaderboard", "1b1b", *NAMES)
    assert done.code == 0, done.text
    assert done.out == "community_results/acme_albor-350m_ada\n"
    assert (store / "community_results/acme_albor-350m_ada/acme_albor-350m_ada.json").is_file()
    assert albor("leaderboard", "1b1b", *NAMES, "--out", "there").out.startswith("there/community_results")


def test_completions_that_were_changed_are_not_submitted(albor: Albor, store: Path) -> None:
    file = next((store / "outputs/eval/m-1b1b/artifact").rglob("humaneval.jsonl*"))
    file.write_bytes(file.read_bytes() + b" ")
    done = albor("leaderboard", "1b1b", *NAMES)
    assert done.code != 0 and file.name in done.err
    assert not (store / "community_results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (NAMES, "takes one evaluation"),
        (("1b1b", *NAMES[:4]), "--user is missing"),
        (("0a0a", *NAMES), "a run of generate, done, and no finished evaluation"),
    ],
)
def test_anything_else_is_refused(words: tuple[str, ...], said: str, albor: Albor, store: Path) -> None:
    done = albor("leaderboard", *words)
    assert done.code == 2 and said in done.err and "--org ORG" in done.err


def test_an_evaluation_that_did_not_end_is_refused(albor: Albor, store: Path) -> None:
    place = store / "outputs/eval/m-1b1b"
    manifest.save(place, replace(manifest.load(place), status="failed"))
    assert "a run of eval, failed" in albor("leaderboard", "1b1b", *NAMES).err
