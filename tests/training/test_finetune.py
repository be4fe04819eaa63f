import dataclasses
import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from albor.config.schema.finetune import FullFinetune, Lora
from albor.config.schema.optim import AdamW, Muon
from albor.data import rows
from albor.data.instruction_rows import InstructionRows
from albor.data.loader import Batches, sequential
from albor.models.checkpoint import load_model
from albor.models.decoder import Decoder
from albor.training.checkpoint.verify import verify_shapes
from albor.training.errors import TrainingError
from albor.training.finetune import fit
from albor.training.lora import is_adapter

from .ranks import check_that_two_do_what_one_does
from .toy import MODEL, SEQ_LEN, equal, weights

TEACHING = Path(__file__).parent / "teaching.py"
LORA = Lora(r=4, dropout=0.1)
DORA = Lora(r=4, dora=True)
ADAMW, MUON = AdamW(lr=1e-2), Muon(lr=1e-2, matrix_lr=1e-2)
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture
def teach(job, tmp_path_factory):
    """A job on rows of which the second half counts on from a random start, and only that is learnt."""
    path = tmp_path_factory.mktemp("rows") / "train-00000.parquet"
    starts = np.random.default_rng(0).integers(0, MODEL.vocab_size, (40, 1))
    made = ((starts + np.arange(SEQ_LEN)) % MODEL.vocab_size).astype("<u2")
    ends = np.array([SEQ_LEN // 2, SEQ_LEN - 2, SEQ_LEN], dtype=np.int32)
    rows.write(path, ((row, ends) for row in made), row_len=SEQ_LEN, token_bytes=2, ends=InstructionRows.ENDS)
    found = InstructionRows(path)

    def make(**changes):
        given = {
            "train": lambda rank, world: Batches(
                found, batch_size=4 * world, seq_len=SEQ_LEN, seed=42, rank=rank, world_size=world
            ),
            "validation": lambda: sequential(found, batch_size=4, seq_len=SEQ_LEN),
            "val_bytes_per_token": None,
        }
        return job(**{**given, **changes})

    return make


@pytest.mark.parametrize("adapter", [LORA, slow(DORA), FullFinetune()], ids=["lora", "dora", "full"])
def test_the_answers_are_learnt_and_the_weights_are_plain(teach, init, adapter):
    trained = fit(MODEL, teach(total_steps=60, optim=AdamW(lr=3e-2)), init, adapter)
    assert trained.result["val_loss"] < 0.6 * trained.result["initial_val_loss"]
    assert trained.weights.keys() == init.keys()
    same = {name for name, tensor in trained.weights.items() if torch.equal(tensor, init[name])}
    frozen = {name for name in init if not any(f".{target}." in name for target in Lora().targets)}
    assert same == (set() if isinstance(adapter, FullFinetune) else frozen)
    expected = {"full": sum(t.numel() for t in init.values())}.get(adapter.kind)
    assert expected in (None, trained.result["trained_parameters"])


def test_only_labels_are_learnt(teach, init):
    """What a row reads does not enter the loss: it is that of the decoder's on the labels alone."""
    job = teach()
    result = fit(MODEL, dataclasses.replace(job, total_steps=1), init, LORA).result
    decoder = Decoder(MODEL)
    decoder.load_state_dict(init)
    total = count = 0.0
    for tokens, labels in job.validation():
        tokens, labels = torch.from_numpy(tokens[:6]), torch.from_numpy(labels[:6])
        taken = min(6 - int(count) // 6, len(tokens))
        logits = decoder(tokens[:taken]).flatten(0, 1)
        total += torch.nn.functional.cross_entropy(logits, labels[:taken].flatten(), reduction="sum").item()
        count += (labels[:taken] != -100).sum().item()
        if count >= 36:
            break
    assert count == 36 and result["initial_val_loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(
    ("optim", "adapter"),
    [
        (MUON, LORA),
        (ADAMW, DORA),
        slow(ADAMW, LORA),
        slow(MUON, DORA),
        slow(ADAMW, FullFinetune()),
        slow(MUON, FullFinetune()),
    ],
    ids=["muon-lora", "adamw-dora", "adamw-lora", "muon-dora", "adamw-full", "muon-full"],
)
def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(teach, init, tmp_path, adapter, optim):
    def stop(step, total, metrics):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = fit(MODEL, teach(directory=tmp_path / "whole", optim=optim), init, adapter)
    first = fit(MODEL, teach(progress=stop, optim=optim), init, adapter)
    assert first.result["interrupted"] and first.result["steps"] < 12
    job = teach(optim=optim)
    second = fit(MODEL, job, init, adapter)
    assert equal(weights(whole), weights(second)) and not equal(weights(first), weights(second))
    assert second.result["val_loss"] == whole.result["val_loss"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = (d / "step-00000012" / name for d in (job.directory, tmp_path / "whole"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_checkpoint_is_a_model_directory_with_the_adapters_beside_the_moments(teach, init):
    from albor.models.llama_config import config_text

    files = {"config.json": config_text(MODEL, dtype=torch.float32, eos_token_id=0, pad_token_id=0)}
    job = teach(files=files)
    trained = fit(MODEL, job, init, LORA)
    directory = job.directory / "step-00000012"
    assert equal(dict(load_model(directory).state_dict()), weights(trained))
    assert verify_shapes(load_file(directory / "model.safetensors"), MODEL).ok
    kept = load_file(directory / "optimizer.safetensors")
    adapters = {name for name in kept if is_adapter(name)}
    moments = {f"{name}.{moment}" for name in adapters for moment in ("step", "exp_avg", "exp_avg_sq")}
    assert kept.keys() == adapters | moments and len(adapters) == 2 * 6 * MODEL.num_hidden_layers


def test_a_checkpoint_of_other_weights_or_adapters_is_refused(teach, init):
    fit(MODEL, teach(), init, LORA)
    torch.manual_seed(6)
    other = Decoder(MODEL).state_dict()
    for start, adapter in ((other, LORA), (init, Lora(r=4, targets=("q_proj",))), (init, Lora(r=4, dora=True))):
        with pytest.raises(TrainingError, match="is not of these starting weights and adapters") as refused:
            fit(MODEL, teach(total_steps=20), start, adapter)
        assert refused.value.help
    assert fit(MODEL, teach(total_steps=16), init, LORA).result["steps"] == 16


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"precision": "fp8"}, "past the adapters"), ({"strategy": "fsdp", "devices": 2}, "spreads the optimizer's")],
)
def test_what_adapters_cannot_be_trained_with_is_refused(teach, init, changes, cause):
    with pytest.raises(TrainingError, match=cause) as refused:
        fit(MODEL, teach(**changes), init, LORA)
    assert refused.value.help and "trainer." in refused.value.help


@pytest.mark.parametrize("changes", [{"activation_checkpointing": True}, {"precision": "bf16"}])
def test_options_of_the_trainer_work_with_adapters(teach, init, changes, tmp_path):
    optim = AdamW(lr=1e-2)
    plain = fit(MODEL, teach(optim=optim, directory=tmp_path / "plain"), init, Lora(r=4, dropout=0.0))
    other = fit(MODEL, teach(optim=optim, **changes), init, Lora(r=4, dropout=0.0))
    assert other.result["val_loss"] == pytest.approx(plain.result["val_loss"], rel=0.02)
    json.dumps(other.result)


@pytest.mark.slow
def test_a_compiled_run_with_adapters_is_nearly_the_same(teach, init, tmp_path):
    lora = Lora(r=4, dropout=0.0)
    compiled, eager = (
        fit(MODEL, teach(compile=flag, directory=tmp_path / str(flag)), init, lora).result for flag in (True, False)
    )
    assert compiled["val_loss"] == pytest.approx(eager["val_loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft-lora", "sft-dora", "dpo-lora", "dpo-full"])
def test_two_processes_teach_what_one_does(tmp_path, kind):
    check_that_two_do_what_one_does(TEACHING, kind, tmp_path)
