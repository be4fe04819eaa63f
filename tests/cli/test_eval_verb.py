"""What ``albor eval`` and ``albor watch`` take over from the run that was trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from albor.cli.arguments import Arguments
from albor.cli.verbs.eval import overrides_for
from albor.config.structure import plain
from albor.plan.nodes import Planner
from albor.runs.checkpoints import RUN
from albor.runs.files import write_text
from albor.runs.manifest import InputRef, Manifest, to_yaml

TASKS = "[perplexity,samples,fim_exact]"


@pytest.mark.parametrize("task", ["perplexity", TASKS])
def test_a_run_is_measured_by_the_tasks_it_was_trained_with(planner: Planner, tmp_path: Path, task: str) -> None:
    made = planner.plan(("stage=pretrain", "model=350m", f"task={task}")).target
    inputs = {name: InputRef(stage="files", id=name, path=str(tmp_path)) for name in ("rows", "tokenizer", "documents")}
    trained = Manifest(
        stage="pretrain", version=1, id="x", label="x", status="done", command="", config=plain(made.config),
        choices=dict(made.choices), inputs=inputs
    )  # fmt: skip
    write_text(tmp_path / RUN, to_yaml(trained))
    measured = planner.plan(overrides_for(Arguments(), tmp_path)).target
    assert measured.choices["task"] == task and measured.choices["model"] == "350m"
