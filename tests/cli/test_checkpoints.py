"""The verbs on checkpoints, over a store that is really built; the training between is a few steps by hand."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from albor.config.compose import Composer
from albor.config.structure import plain
from albor.data.tokenizer import Codec
from albor.models.decoder import Decoder
from albor.models.llama_config import config_text
from albor.plan.apply import prepare
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver
from albor.runs import manifest
from albor.runs.store import Store
from albor.training.checkpoint import RUN, Writer, steps
from tests.command import albor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("checkpoints")]
SMALL = ("debug=default", "tracking=none", "data.max_documents=60", "tokenizer.vocab_size=512", "seed=7")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose store holds rows, a tokenizer, and a pretrain run with checkpoints of the steps 2 and 4."""
    place = tmp_path_factory.mktemp("built")
    done = albor(*SMALL, "stage=pack", cwd=place)
    assert done.returncode == 0, done.stderr
    here = Path.cwd()
    os.chdir(place)
    try:
        plan = Planner(Resolver(Composer())).plan((*SMALL, "stage=pretrain", "model.vocab_size=512"))
        prepare(plan)
        train(place / plan.target.directory)
    finally:
        os.chdir(here)
    return place


def train(directory: Path) -> None:
    run = manifest.load(directory)
    config = Planner(Resolver(Composer())).plan((*SMALL, "stage=pretrain", "model.vocab_size=512")).target.config
    assert plain(config) == run.config
    tokenizer = next(r.artifact for r in Store(Path("outputs")).runs() if r.manifest.stage == "tokenizer")
    codec = Codec.load(tokenizer)
    torch.manual_seed(config.seed)
    decoder = Decoder(config.model)
    adamw = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
    llama = config_text(config.model, dtype=torch.float32, eos_token_id=codec.eos_id, pad_token_id=codec.pad_id)
    files = {name: (tokenizer / name).read_text(encoding="utf-8") for name in ("tokenizer.json", "roles.json")}
    files |= {"config.json": llama, RUN: manifest.to_yaml(run)}
    with (
        Writer(directory / "checkpoints", keep_last=2, keep_best=0, files=files) as writer,
        (directory / "metrics.jsonl").open("w") as log,
    ):
        for step in range(1, 5):
            tokens = torch.randint(16, 512, (2, 33))
            adamw.zero_grad()
            (decoder.loss_sum(tokens[:, :-1], tokens[:, 1:]) / 64).backward()
            adamw.step()
            log.write(json.dumps({"step": step, "loss": 6.5 - step / 10}) + "\n")
            if step % 2 == 0:
                state = {
                    "step": step,
                    "tokens": step * config.trainer.sequences_per_step * config.data.seq_len,
                    "loader": {"epoch": 0, "batch": step},
                }
                writer.save(decoder.state_dict(), {"m": torch.ones(1)}, state)


def checkpoints(place: Path) -> list[Path]:
    return steps(next((place / "outputs/pretrain").iterdir()) / "checkpoints")


def test_verify_says_what_it_found(built: Path, tmp_path: Path) -> None:
    newest, older = checkpoints(built)
    for given in (str(newest), newest.parents[1].name, str(newest.parents[1])):
        done = albor("verify", given, cwd=built)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("  ")]
        names = ("files", "tensors", "trained", "finite", "layers", "step", "tokens", "loader", "learned", "trend")
        assert [["OK", name] for name in names] == lines[:10] and "11 checks, all hold" in done.stdout
        assert newest.name in done.stdout and older.name not in done.stdout and "seed 7" in done.stdout
    shutil.copytree(older, tmp_path / "mine")
    assert albor("verify", str(tmp_path / "mine"), cwd=tmp_path).returncode == 0


def test_verify_fails_on_damage(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "outputs", tmp_path / "outputs")
    newest = checkpoints(tmp_path)[0]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    done = albor("verify", newest.parents[1].name, cwd=tmp_path)
    assert done.returncode == 1 and "FAIL  files     model.safetensors differs" in done.stdout
    assert "1 of 4 checks failed" in done.stdout and "Traceback" not in done.stderr
    (newest / "checkpoint.json").unlink()
    done = albor("verify", str(newest), cwd=tmp_path)
    assert done.returncode == 1 and "checkpoint.json: No such file" in done.stdout


def test_a_damaged_checkpoint_is_neither_measured_nor_sampled_from(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "outputs", tmp_path / "outputs")
    newest = checkpoints(tmp_path)[0]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for words in (("eval", str(newest)), ("sample", str(newest), "--prompt", "def ")):
        done = albor(*words, cwd=tmp_path)
        assert done.returncode != 0 and "is damaged: model.safetensors differs from its hash" in done.stderr, words
        assert "Traceback" not in done.stderr


def test_a_damaged_artifact_is_not_sampled_from(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "outputs", tmp_path / "outputs")
    run = checkpoints(tmp_path)[0].parents[1]
    shutil.copytree(checkpoints(tmp_path)[0], run / "artifact")
    made = manifest.load(run)
    manifest.save(run, made.to("done", files=manifest.artifact_files(run / "artifact"), finished=1.0))
    assert albor("sample", run.name, "--prompt", "def ", cwd=tmp_path).returncode == 0
    weights = run / "artifact/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    done = albor("sample", run.name, "--prompt", "def ", cwd=tmp_path)
    assert done.returncode == 2 and "its bytes are not those that were written" in done.stderr


def test_verify_of_a_run_that_is_done_checks_its_artifact(built: Path) -> None:
    packed = next((built / "outputs/pack").iterdir())
    done = albor("verify", packed.name, cwd=built)
    assert done.returncode == 0 and "OK    files" in done.stdout and "1 check, all hold" in done.stdout


def test_what_cannot_be_verified_or_evaluated_is_refused(built: Path, tmp_path: Path) -> None:
    for words in (("verify",), ("eval",), ("verify", "a", "b"), ("verify", "nothing"), ("eval", "nothing")):
        done = albor(*words, cwd=built)
        assert done.returncode == 2 and "help:" in done.stderr and "Traceback" not in done.stderr
    packed = next((built / "outputs/pack").iterdir()).name
    done = albor("eval", packed, cwd=built)
    assert done.returncode == 2 and "no checkpoint" in done.stderr


def test_eval_needs_no_flags_and_is_a_planned_run(built: Path, tmp_path: Path) -> None:
    newest, older = checkpoints(built)
    done = albor("eval", str(newest), cwd=built)
    assert done.returncode == 0, done.stderr
    again = albor("eval", str(newest.parents[1]), cwd=built)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    elsewhere = albor("eval", str(older), "eval.max_rows=2", cwd=tmp_path)
    assert elsewhere.returncode == 0 and list(tmp_path.iterdir()) == []
    runs = [r.manifest for r in Store(built / "outputs").runs() if r.manifest.stage == "eval"]
    assert len(runs) == 2
    packed = next(r.manifest.id for r in Store(built / "outputs").runs() if r.manifest.stage == "pack")
    by_id = {r.manifest.id: r.manifest for r in Store(built / "outputs").runs()}
    for run, path in zip(runs, (newest, older), strict=True):
        assert run.facts["val_loss"] > 0
        asked = by_id[run.inputs["generations"].id]
        assert asked.inputs["rows"].id == packed and asked.inputs["model"].path == str(path)
        assert run.config["seed"] == 7 and run.choices["tracking"] == "none"


def test_a_checkpoint_that_was_copied_finds_its_rows_by_their_id(built: Path) -> None:
    shutil.copytree(checkpoints(built)[0], built / "copied it's")
    done = albor("eval", "copied it's", "eval.max_rows=1", cwd=built)
    assert done.returncode == 0, done.stderr


def test_rows_that_are_gone_are_named_and_others_can_be_given(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "outputs", tmp_path / "outputs")
    rows = next((tmp_path / "outputs/pack").iterdir())
    rows.rename(tmp_path / "elsewhere")
    newest = checkpoints(tmp_path)[0]
    done = albor("eval", str(newest), cwd=tmp_path)
    assert done.returncode == 2 and rows.name.rsplit("-", 1)[1] in done.stderr and "inputs.rows=" in done.stderr
    given = albor("eval", str(newest), f"inputs.rows={tmp_path / 'elsewhere'}", cwd=tmp_path)
    assert given.returncode == 0, given.stderr


def test_a_checkpoint_can_be_sampled_from(built: Path) -> None:
    done = albor("sample", str(checkpoints(built)[0]), "--prompt", "def f(", "--max-new-tokens", "3", cwd=built)
    assert done.returncode == 0 and done.stdout.startswith("def f("), done.stderr
