"""The main job, as real processes: everything from the standard library to the report, in its smallest form."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from albor.data.rows import Rows, write
from albor.runs import manifest
from albor.runs.lineage import chain
from albor.runs.store import Store
from tests.command import COMMAND, albor

SMALL = (
    "stage=report",
    "debug=default",
    "tracking=none",
    "data.max_documents=60",
    "tokenizer.vocab_size=512",
    "model.vocab_size=512",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a report was built once."""
    place = tmp_path_factory.mktemp("built")
    done = albor(*SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def run_of(place: Path, stage: str) -> manifest.Manifest:
    """The manifest of the first run of a stage: in ``built`` the fixture's."""
    return next(r.manifest for r in Store(place / "outputs").runs() if r.manifest.stage == stage)


@pytest.mark.xdist_group("built")
def test_every_stage_is_done_and_the_model_starts_at_ln_vocab_and_learns(built: Path) -> None:
    stages = {r.manifest.stage: r.manifest for r in Store(built / "outputs").runs()}
    assert set(stages) == {"prepare", "tokenizer", "pack", "pretrain", "generate", "eval", "report"}
    assert all(m.status == "done" and m.files and m.digest for m in stages.values())
    trained = stages["pretrain"].facts
    assert trained["initial_val_loss"] == pytest.approx(math.log(512), rel=0.02)
    assert trained["val_loss"] < trained["initial_val_loss"]
    assert stages["eval"].facts["val_ppl"] == pytest.approx(math.exp(stages["eval"].facts["val_loss"]))


@pytest.mark.xdist_group("built")
def test_the_second_run_does_nothing_and_says_why(built: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*") if p.is_file()}
    again = albor(*SMALL, cwd=built)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert "nothing it depends on has changed" in again.stderr
    assert again.stdout.strip().endswith("index.html")
    assert {p: p.stat().st_mtime_ns for p in built.rglob("*") if p.is_file()} == before


@pytest.mark.xdist_group("built")
def test_the_report_tells_the_runs_numbers_and_lineage(built: Path) -> None:
    report = next((built / "outputs/report").glob("*/artifact/index.html")).read_text()
    for _, run in chain(next((built / "outputs/eval").iterdir())):
        assert run.id in report
        assert str(run.digest)[:12] in report
    assert f"{run_of(built, 'pretrain').facts['parameters']:,}" in report
    assert "def __init__" in report


@pytest.mark.xdist_group("built")
def test_a_change_makes_only_what_depends_on_it_again(built: Path) -> None:
    planned = json.loads(albor("plan", "--json", *SMALL, "optim.lr=0.001", cwd=built).stdout)
    states = {n["stage"]: n["state"] for n in planned["nodes"]}
    assert states == dict.fromkeys(("prepare", "tokenizer", "pack"), "done") | dict.fromkeys(
        ("pretrain", "generate", "eval", "report"), "new"
    )


@pytest.mark.xdist_group("built")
def test_the_built_rows_are_counted_in_the_step_budget(built: Path) -> None:
    rows = run_of(built, "pack").facts["num_sequences"]
    steps = rows // 2 + 1
    # A declared number says that the data last; the built one knows better.
    refused = albor(
        "plan", *SMALL, "stage=pretrain", f"trainer.max_steps={steps}", "data.num_sequences=1000000", cwd=built
    )
    assert refused.returncode == 2
    assert f"{rows // 2:,} of {steps:,} steps" in refused.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("built")
def test_a_run_made_again_from_other_inputs_does_not_go_on_from_its_old_checkpoints(
    built: Path, tmp_path: Path
) -> None:
    target = (*SMALL, "stage=pretrain", "trainer.max_steps=6", "trainer.deterministic=true")
    places = [tmp_path / name for name in ("changed", "fresh")]
    for place in places:
        shutil.copytree(
            built / "outputs",
            place / "outputs",
            ignore=shutil.ignore_patterns("pretrain", "generate", "eval", "report"),
        )
    assert albor(*target, cwd=places[0]).returncode == 0
    before = run_of(places[0], "pretrain")
    for place in places:
        directory = next((place / "outputs/pack").iterdir())
        reverse_rows(directory / "artifact/train-00000.parquet")
        rows = manifest.load(directory)
        files = manifest.artifact_files(directory / "artifact")
        manifest.save(directory, rows.to("done", files=files, digest=manifest.artifact_digest(files)))
    assert "its input rows has changed" in albor("plan", *target, cwd=places[0]).stdout
    for place in places:
        done = albor(*target, cwd=place)
        assert done.returncode == 0, done.stderr
    again, fresh = (run_of(place, "pretrain") for place in places)
    assert again.files["model.safetensors"] == fresh.files["model.safetensors"]
    assert again.files["model.safetensors"] != before.files["model.safetensors"]


def reverse_rows(path: Path) -> None:
    rows = Rows(path)
    tokens, ends = rows.read(np.arange(len(rows))[::-1])
    write(path, list(zip(tokens, ends, strict=True)), row_len=rows.row_len, token_bytes=rows.token_bytes)


@pytest.mark.slow
@pytest.mark.xdist_group("built")
def test_a_lost_artifact_is_exported_again_from_the_last_checkpoint(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "outputs", tmp_path / "outputs")
    lost = next((tmp_path / "outputs/pretrain").glob("*/artifact/model.safetensors"))
    expected = lost.read_bytes()
    lost.unlink()
    done = albor(*SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert lost.read_bytes() == expected


@pytest.mark.xdist_group("built")
@pytest.mark.slow
def test_one_model_is_reported_whatever_stage_it_is_given_to(built: Path) -> None:
    run = run_of(built, "pretrain")
    small = tuple(t for t in SMALL if not t.startswith("model."))  # nothing left to train reads it
    plan = json.loads(albor("plan", "--json", *small, f"inputs.model={run.id}", "seed=7", cwd=built).stdout)
    inputs = {n["stage"]: n["inputs"] for n in plan["nodes"]}
    assert "pretrain" not in inputs
    assert inputs["generate"]["model"] == run.id
    for wrong, kind in ((run_of(built, "tokenizer").id, "tokenizer"), (run_of(built, "pack").id, "rows")):
        refused = albor("plan", *small, "stage=eval", f"inputs.model={wrong}", cwd=built)
        assert refused.returncode == 2
        assert f"which makes {kind}" in refused.stderr
    other = albor(*small, "stage=tokenizer", "tokenizer.vocab_size=512", "seed=3", cwd=built)
    assert other.returncode == 0
    newest = Store(built / "outputs").runs()[-1].manifest.id
    rows = run_of(built, "pack").id
    given = (f"inputs.rows={rows}", f"inputs.tokenizer={newest}")
    mixed = albor("plan", *SMALL[:3], "model.vocab_size=512", "stage=pretrain", *given, cwd=built)
    assert mixed.returncode == 2
    assert "C-DATA-004" in mixed.stdout


@pytest.mark.xdist_group("built")
def test_sample_continues_a_prompt_from_any_run_that_has_a_model_upstream(built: Path) -> None:
    for stage in ("pretrain", "report"):
        done = albor("sample", run_of(built, stage).id, "--prompt", "def f(", "--max-new-tokens", "5", cwd=built)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("def f(")
    without = albor("sample", run_of(built, "pack").id, "--prompt", "def", cwd=built)
    assert without.returncode == 2
    assert "no model" in without.stderr


@pytest.mark.xdist_group("built")
@pytest.mark.slow
def test_a_tokenizer_that_exists_can_take_the_place_of_a_trained_one(built: Path) -> None:
    runs = Store(built / "outputs").runs()
    path = next(r.artifact for r in runs if r.manifest.stage == "tokenizer")  # the first: that of the fixture
    fim = [f"tokenizer.fim_{part}='<|fim_{part}|>'" for part in ("prefix", "suffix", "middle")]
    chosen = ("tokenizer=hf", f"tokenizer.path={path}", *fim)
    done = albor("debug=default", "tracking=none", "data.max_documents=60", "stage=pack", *chosen,
                 "tokenizer.vocab_size=512", cwd=built)  # fmt: skip
    assert done.returncode == 0, done.stderr
    packs = [r.manifest for r in Store(built / "outputs").runs() if r.manifest.stage == "pack"]
    assert packs[0].id != packs[-1].id
    rows = [{name: f for name, f in pack.files.items() if name.endswith(".parquet")} for pack in packs]
    assert rows[0] == rows[-1]
    wrong = albor("debug=default", "tracking=none", "data.max_documents=60", "stage=pack", *chosen,
                  "tokenizer.vocab_size=500", cwd=built)  # fmt: skip
    assert wrong.returncode == 2
    assert "512 tokens" in wrong.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("built")
def test_init_from_a_finished_run_starts_where_it_ended_and_another_shape_is_refused(built: Path) -> None:
    run = run_of(built, "pretrain")
    done = albor(*SMALL, "stage=pretrain", f"init_from={run.id}", "trainer.max_steps=2", cwd=built)
    assert done.returncode == 0, done.stderr
    newest = Store(built / "outputs").runs()[-1].manifest
    assert newest.facts["initial_val_loss"] == pytest.approx(run.facts["val_loss"], abs=1e-4)
    refused = albor("plan", *SMALL, "stage=pretrain", f"init_from={run.id}", "model.hidden_size=128", cwd=built)
    assert refused.returncode == 2
    assert "C-MODEL-004" in refused.stdout


@pytest.mark.xdist_group("built")
@pytest.mark.slow
def test_a_failed_run_keeps_its_cause(built: Path) -> None:
    stop = "alerts.x={metric: loss, above: 1, action: stop, from_step: 2}"
    failed = albor(*SMALL, "stage=pretrain", "trainer.max_steps=3", stop, cwd=built)
    assert failed.returncode == 1 and "the alert 'x' stopped the run at step 2" in failed.stderr
    newest = Store(built / "outputs").runs()[-1].manifest
    assert newest.status == "failed" and "the alert 'x' stopped the run at step 2" in str(newest.error)


@pytest.mark.slow
@pytest.mark.xdist_group("built")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 1), (signal.SIGTERM, 75)])
def test_a_run_killed_or_interrupted_goes_on_and_ends_with_the_same_bytes(
    number: int, code: int, built: Path, tmp_path: Path
) -> None:
    target = (*SMALL, "stage=pretrain", "trainer.max_steps=40", "trainer.save_every=10", "trainer.deterministic=true")
    whole = albor(*target, cwd=built)
    assert whole.returncode == 0, whole.stderr
    expected = Store(built / "outputs").runs()[-1].manifest
    shutil.copytree(built / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("pretrain", "report"))
    cut_off(tmp_path, target, number, code)
    finished = albor(*target, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert run_of(tmp_path, "pretrain").files["model.safetensors"] == expected.files["model.safetensors"]


def cut_off(place: Path, target: tuple[str, ...], number: int, code: int) -> None:
    """Starts the target and sends the training process a signal once it has written a checkpoint."""
    process = subprocess.Popen(
        [*COMMAND, *target],
        cwd=place,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(place.glob("outputs/pretrain/*/checkpoints/step-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    lock = next(place.glob("outputs/pretrain/*/.lock"))
    os.kill(int(lock.read_text()), number)
    assert process.wait(timeout=120) == code
    assert "Traceback" not in (process.stderr.read() if process.stderr else "")
