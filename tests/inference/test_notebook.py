"""The notebook's cells run; what it shows was made by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from albor.inference.loaded import LanguageModel
from tests.serve.serving import models

NOTEBOOK = Path(__file__).parents[2] / "docs" / "completion.ipynb"
RUNGS = {"quantize": "q8", "prune": "base", "finetune": "chat"}


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    directories = models(tmp_path / "models")
    for stage, name in RUNGS.items():
        place = tmp_path / "outputs" / stage / "tiny-0"
        place.parent.mkdir(parents=True)
        place.symlink_to(directories[name])
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            assert cell["outputs"], f"cell {number} was not executed"
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "of them known" in printed and "perplexity" in printed
    assert isinstance(names["q4"], LanguageModel) and names["hole"].ended in ("stop", "length", "end")
