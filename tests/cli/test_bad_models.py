"""Models, tokenizers and stored logits that do not belong together, as the command line refuses them; and a teacher's
logits that were cut off."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from albor.runs.store import Run, Store
from tests.command import COMMAND, albor, succeeds
from tests.small_corpus import TINY, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]
LOGITS = (*TINY, "stage=teacher_logits", "distill=offline", "data.seq_len=64", "trainer.micro_batch_size=1")
DISTILL = ("stage=distill", "stage.of=null")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a model was trained."""
    made = tmp_path_factory.mktemp("models")
    write_corpus(made)
    succeeds(*TINY, "stage=pretrain", cwd=made)
    return made


def run_of(place: Path, stage: str) -> Run:
    found = (run for run in Store(place / "outputs").runs() if run.manifest.stage == stage)
    return next(run for run in found if run.manifest.status == "done")


@pytest.fixture
def model(place: Path, tmp_path: Path) -> Path:
    """A copy of the model, to spoil."""
    return Path(shutil.copytree(run_of(place, "pretrain").artifact, tmp_path / "model"))


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def refused(place: Path, *words: str) -> str:
    """What a refusal says; nothing was made, and nothing is left of an artifact that was begun."""
    before = {run.directory for run in Store(place / "outputs").runs() if run.manifest.status == "done"}
    done = albor(*TINY, *words, cwd=place)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr, done.stderr
    errors = done.stderr[done.stderr.index("error[") :]
    assert "help: " in errors
    for run in Store(place / "outputs").runs():
        assert run.manifest.status == "done" or not run.artifact.exists()
        assert run.manifest.status != "done" or run.directory in before
    return errors


def test_a_teacher_with_more_tokens(place: Path, model: Path) -> None:
    change(model / "config.json", lambda config: config.update(vocab_size=400))
    said = refused(place, *DISTILL, f"inputs.teacher={model}")
    assert said.startswith("error[C-DISTILL-001] the teacher has 400 tokens, the student 350")
    assert "--> teacher" in said and "inputs.teacher=RUN" in said


def test_a_teacher_with_other_tokens(place: Path, model: Path) -> None:
    def swap(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        first, second = list(vocabulary)[20:22]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]

    change(model / "tokenizer.json", swap)
    said = refused(place, *DISTILL, f"inputs.teacher={model}")
    assert said.startswith(f"error[C-DISTILL-001] the teacher {model} has another tokenizer")


def test_models_of_another_shape_are_not_merged(place: Path, model: Path) -> None:
    change(model / "config.json", lambda config: config.update(intermediate_size=96))
    said = refused(place, "stage=merge", f"stage.of=[pretrain,{model}]")
    assert said.startswith("error[C-MERGE-001]") and "intermediate_size" in said and "one architecture" in said


def other(model: Path, **config: Any) -> Path:
    """The directory of a model that is not of albor's layout."""
    shutil.rmtree(model)
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": 350, **config}))
    return model


def test_a_teacher_that_is_a_pickle(place: Path, model: Path) -> None:
    (other(model) / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    said = refused(place, *DISTILL, f"inputs.teacher={model}", "seed=7")
    assert said.startswith("error[E-MODEL]") and "pickled weights, which can run code" in said and "safetensors" in said


def test_a_teacher_that_wants_its_own_code_run(place: Path, model: Path) -> None:
    other(model, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    (model / "modeling.py").write_text("open('harm', 'w')")
    (model / "model.safetensors").write_bytes(b"")
    said = refused(place, *DISTILL, f"inputs.teacher={model}", "seed=7")
    assert said.startswith("error[E-MODEL]") and "no such code is run" in said and "config.json" in said
    assert not list(place.rglob("harm"))


def test_logits_of_other_rows(place: Path) -> None:
    model = run_of(place, "pretrain").manifest.id
    done = albor(*LOGITS, f"inputs.teacher={model}", "stage.check_batches=1", cwd=place)
    assert done.returncode == 0, done.stderr
    stored = run_of(place, "teacher_logits").manifest
    student = (*DISTILL, "distill=offline", f"inputs.logits={stored.id}")
    assert albor("plan", *TINY, *student, cwd=place).returncode == 0
    packed = albor(*TINY, "stage=pack", "data.fim_rate=0", cwd=place)
    assert packed.returncode == 0, packed.stderr
    said = refused(place, *student, "up.pack.data.fim_rate=0")
    assert said.startswith("error[C-DISTILL-005] the logits are those of other rows")
    assert "--> inputs.logits" in said and "stage=teacher_logits" in said


def test_a_malformed_line_of_instructions(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    good = json.dumps({"prompt": "Say one.", "completion": "print(1)"})
    path.write_text("".join(f"{line}\n" for line in (good, good, '{"prompt": "half', good)))
    words = ("stage=instructions", "instructions=jsonl", f"instructions.path={path}")
    said = refused(place, *words)
    assert said.startswith(f"error[E-DATA] {path}:3: it is not JSON") and "instructions.skip_malformed=true" in said
    done = albor(*TINY, *words, "instructions.skip_malformed=true", cwd=place)
    assert done.returncode == 0, done.stderr
    facts = run_of(place, "instructions").manifest.facts
    assert facts["malformed"] == 1 and f"{path}:3" in facts["malformed_at"][0]
    assert facts["examples"] + facts["val_examples"] == 3


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_logits_that_were_cut_off_go_on_after_their_last_whole_file(place: Path, tmp_path: Path, sent: int) -> None:
    ignored = shutil.ignore_patterns("teacher_logits")
    whole, here = (Path(shutil.copytree(place, tmp_path / name, ignore=ignored)) for name in ("whole", "here"))
    teacher = run_of(place, "pretrain").manifest.id
    words = (*LOGITS, f"inputs.teacher={teacher}", "stage.check_batches=1", "stage.shard_tokens=512")

    process = subprocess.Popen([*COMMAND, *words], cwd=here, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 300
    while len(list(here.glob("outputs/teacher_logits/*/work/*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, sent)
    process.communicate()
    assert process.returncode == (75 if sent == signal.SIGINT else -sent)
    before = {path.name: path.stat() for path in here.glob("outputs/teacher_logits/*/work/*.parquet")}
    assert not list(here.glob("outputs/teacher_logits/*/artifact"))

    for directory in (here, whole):
        done = albor(*words, cwd=directory)
        assert done.returncode == 0, done.stderr
    made = {path.name: path for path in run_of(here, "teacher_logits").artifact.glob("*.parquet")}
    assert 2 <= len(before) < len(made)
    assert {stat.st_ino for stat in before.values()} <= {path.stat().st_ino for path in made.values()}
    expected = {path.name: path for path in run_of(whole, "teacher_logits").artifact.glob("*.parquet")}
    assert {name: path.read_bytes() for name, path in made.items()} == {
        name: path.read_bytes() for name, path in expected.items()
    }
