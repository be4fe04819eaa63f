"""A model exported by real processes: others load it, and its card has its own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from huggingface_hub import ModelCard

from albor.data.tokenizer import Codec
from albor.inference.engine import Request
from albor.inference.opening import computed_by, open_engine
from albor.models.checkpoint import load_model
from albor.runs.store import Run, Store
from tests.command import albor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]
SMALL = (
    "debug=default",
    "tracking=none",
    "data.seq_len=256",
    "task=[perplexity,samples,fim_exact]",
    "task.fim_exact.functions=3",
    "eval.limit=9",
    "eval.sandbox=none",
)
EXPORT = ("stage=export", "stage.of=pretrain", *SMALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("export")
    done = albor(*EXPORT, "stage.gguf=[f16,q4_k_m]", "stage.licence=apache-2.0", cwd=made)
    assert done.returncode == 0, done.stderr
    return made


def run_of(place: Path, stage: str, **facts: Any) -> Run:
    found = [run for run in Store(place / "outputs").runs() if run.manifest.stage == stage]
    [run] = [run for run in found if facts.items() <= run.manifest.facts.items()]
    return run


def evaluations(place: Path, label: str) -> list[Run]:
    found = [run for run in Store(place / "outputs").runs() if run.manifest.stage == "eval"]
    return [run for run in found if run.manifest.label == label]


@pytest.fixture(scope="module")
def exported(place: Path) -> Path:
    return run_of(place, "export", dtype="bf16").artifact


@torch.no_grad()
def test_transformers_computes_what_was_trained(place: Path, exported: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ours = load_model(run_of(place, "pretrain").artifact, dtype=torch.bfloat16)
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    ids = AutoTokenizer.from_pretrained(exported)("def main(argv):\n    return 1", return_tensors="pt")
    for model in (ours, theirs):
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    assert torch.equal(ours(ids["input_ids"]), theirs(**ids).logits)
    assert theirs.generate(**ids, max_new_tokens=5).shape[1] > ids["input_ids"].shape[1]


def test_the_card_has_the_numbers_of_the_evaluation_of_this_model(place: Path, exported: Path) -> None:
    measured = run_of(place, "eval")
    numbers = json.loads((measured.artifact / "eval.json").read_text())
    card = ModelCard.load(exported / "README.md")
    found = {(it.dataset_name, it.metric_type): it.metric_value for it in card.data.eval_results}
    expected = {("held-out rows", key): numbers[key] for key in ("val_ppl", "val_bits_per_byte")}
    expected |= {("fim_exact", "exact@1"): numbers["scores"]["fim_exact"]["exact@1"]["value"]}
    assert found == expected and f"`{measured.manifest.id}`" in card.text
    for stage in ("prepare", "tokenizer", "pack", "pretrain"):
        assert run_of(place, stage).manifest.id in card.text
    assert card.data.license == "apache-2.0" and "PSF-2.0" in card.text and "139,584 parameters" in card.text


def test_gguf_files_know_how_to_fill_in(exported: Path) -> None:
    for name in ("model-F16.gguf", "model-Q4_K_M.gguf"):
        fields = gguf.GGUFReader(exported / name).fields
        keys = {key: fields[f"tokenizer.ggml.fim_{key}_token_id"].contents() for key in ("pre", "suf", "mid", "pad")}
        assert keys == {"pre": 1, "suf": 2, "mid": 3, "pad": 4}
        assert fields["general.license"].contents() == "apache-2.0"


def test_what_is_exported_can_be_measured_again(exported: Path) -> None:
    """Weights go before the GGUF files beside them."""
    assert computed_by(exported).startswith("torch")
    codec, engine = Codec.of_model(exported), open_engine(exported)
    [(_, ids)] = engine.generate([Request(prompt=tuple(codec.encode("def ")), max_new_tokens=4)])
    assert codec.decode(ids) is not None


def test_the_second_run_does_nothing(place: Path) -> None:
    again = albor(*EXPORT, "stage.gguf=[f16,q4_k_m]", "stage.licence=apache-2.0", cwd=place)
    assert again.returncode == 0 and "nothing to do" in again.stderr


def test_without_an_evaluation_the_card_has_no_numbers(place: Path) -> None:
    model = run_of(place, "pretrain")
    done = albor(*EXPORT, "stage.evaluated=false", "stage.dtype=float32", "stage.gguf=[]", cwd=place)
    assert done.returncode == 0 and "[1/1] export/" in done.stderr, done.stderr
    run = run_of(place, "export", dtype="float32")
    assert run.manifest.inputs["model"].id == model.manifest.id
    card = ModelCard.load(run.artifact / "README.md")
    assert card.data.eval_results is None and "has not been evaluated" in card.text
    assert not list(run.artifact.glob("*.gguf"))
    for name, tensor in load_model(run.artifact).state_dict().items():
        assert torch.equal(tensor, load_model(model.artifact).state_dict()[name])


def test_a_quantised_model_is_its_file_and_a_card(place: Path) -> None:
    quantised = ("up.quantize.stage.of=pretrain", "stage.of=quantize")
    refused = albor(*EXPORT, *quantised, "stage.evaluated=false", "stage.gguf=[f16]", cwd=place)
    assert refused.returncode == 2 and "is a GGUF file already" in refused.stderr, refused.stderr
    done = albor(*EXPORT, *quantised, cwd=place)
    assert done.returncode == 0, done.stderr
    run, source = run_of(place, "export", dtype=None), run_of(place, "quantize")
    file = run.artifact / "model-Q4_0.gguf"
    assert file.read_bytes() == (source.artifact / "model.gguf").read_bytes()
    assert not list(run.artifact.glob("*.safetensors"))
    [measured] = evaluations(place, "tiny-quantize-quick")
    found = {it.metric_type: it.metric_value for it in ModelCard.load(run.artifact / "README.md").data.eval_results}
    assert found["val_ppl"] == measured.manifest.facts["val_ppl"]


def test_another_run_is_exported_by_its_name(place: Path) -> None:
    name = run_of(place, "pretrain").directory.name
    done = albor("plan", "stage=export", *SMALL, f"inputs.model={name}", cwd=place)
    assert done.returncode == 0 and "finetune" not in done.stdout and "done" in done.stdout, done.stderr


def test_it_is_published_from_there(place: Path) -> None:
    chain = [word for word in EXPORT if not word.startswith("stage")]
    done = albor("stage=publish", "stage.repo=me/tiny", "up.export.stage.of=pretrain", *chain,
                 "up.export.stage.gguf=[f16,q4_k_m]", "up.export.stage.licence=apache-2.0", cwd=place)  # fmt: skip
    assert done.returncode == 0 and "[1/1] publish/" in done.stderr, done.stderr
    assert "model-Q4_K_M.gguf" in done.stderr and "would push to me/tiny" in done.stderr


def test_weights_other_than_those_that_were_measured_are_refused(place: Path) -> None:
    weights = run_of(place, "pretrain").artifact / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        done = albor(*EXPORT, "stage.gguf=[f32]", cwd=place)
    finally:
        weights.write_bytes(kept)
    assert done.returncode == 2 and "its bytes are not those that were written" in done.stderr, done.stderr


def test_numbers_of_a_model_that_was_built_again_are_refused(place: Path) -> None:
    """An evaluation that is given is not made anew."""
    [evaluation] = evaluations(place, "tiny-quick")
    path = run_of(place, "pretrain").directory / "manifest.yaml"
    kept = path.read_text()
    path.write_text(kept.replace(f"digest: {run_of(place, 'pretrain').manifest.digest}", f"digest: {64 * '0'}"))
    try:
        done = albor("stage=export", "tracking=none", f"inputs.evaluation={evaluation.directory.name}", cwd=place)
    finally:
        path.write_text(kept)
    assert done.returncode == 2 and "was built again after it was evaluated" in done.stderr, done.stderr
