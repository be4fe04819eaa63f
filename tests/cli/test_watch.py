"""``albor watch`` beside a training that goes on: real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from albor.cli.arguments import Arguments
from albor.cli.verbs import watch
from albor.cli.verbs.watch import chosen
from albor.errors import AlborError
from albor.runs import evaluations, manifest
from albor.runs.manifest import Manifest
from albor.runs.store import Run
from tests.command import albor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("watch")]
SMALL = ("debug=default", "tracking=none", "data.max_documents=60", "tokenizer.vocab_size=512", "model.vocab_size=512")
LONG = ("trainer.max_steps=100k", "trainer.epochs=100000", "trainer.save_every=20", "trainer.val_every=20")


def started(place: Path, *more: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A training that has written a checkpoint, and its run's directory."""
    command = [sys.executable, "-m", "albor", "stage=pretrain", *SMALL, *LONG, *more]
    process = subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (found := list(place.glob("outputs/pretrain/*/checkpoints/step-*"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    return process, found[0].parents[1]


def test_a_training_that_no_longer_improves_is_stopped_and_its_best_checkpoint_kept(tmp_path: Path) -> None:
    training, run = started(tmp_path, "optim.lr=1e-12")  # nothing is learned
    try:
        done = albor("watch", run.name, "eval.max_rows=2", "task=perplexity", "--patience", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "no improvement over 1 checkpoints" in done.stderr
        assert training.wait(timeout=60) == 75  # saved and resumable
    finally:
        training.kill()
    found = evaluations.read(run)
    assert len(found) >= 2 and len({entry["checkpoint"] for entry in found}) == len(found)
    best = min(found, key=lambda entry: entry["val_ppl"])
    assert f"step {best['checkpoint']:,} is the best so far" in done.stderr
    assert albor("verify", str(run / evaluations.BEST), cwd=tmp_path).stderr == ""
    assert manifest.load(run).status == "interrupted"
    assert not any((run / evaluations.HELD).glob("*"))
    again = albor("watch", run.name, "eval.max_rows=2", "task=perplexity", cwd=tmp_path)
    assert again.returncode == 0  # the run has ended: what is left is evaluated, nothing twice
    steps = [entry["checkpoint"] for entry in evaluations.read(run)]
    assert len(steps) == len(set(steps))


def test_an_evaluation_without_scores_is_refused() -> None:
    with pytest.raises(AlborError, match="no score to compare checkpoints by"):
        chosen({}, None)


def test_a_checkpoint_that_cannot_be_read_is_passed_over_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def hold(directory: Path, checkpoint: Path) -> Path:
        tried.append(checkpoint.name)
        raise PermissionError(13, "Permission denied", str(checkpoint))

    for step in (20, 40):
        (tmp_path / "checkpoints" / f"step-{step}").mkdir(parents=True)
    monkeypatch.setattr(evaluations, "hold", hold)
    monkeypatch.setattr(watch, "over", lambda directory: True)
    run = Run(tmp_path, Manifest(stage="pretrain", version=1, id="x", label="x", status="done", command="", config={}))
    assert watch.follow(run, Arguments(patience=1)) == 0
    assert sorted(tried) == ["step-20", "step-40"]
    assert "step 40 is passed over: [Errno 13] Permission denied" in capsys.readouterr().err
    assert watch.without_improvement(tmp_path, None) == 0


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    assert albor("watch", cwd=tmp_path).returncode == 2
    assert albor("watch", "nothing", cwd=tmp_path).returncode == 2
    assert albor("watch", "nothing", "--patience", "0", cwd=tmp_path).returncode == 2
