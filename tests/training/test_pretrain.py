import dataclasses
import json
import math
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from albor.config.schema.optim import AdamW
from albor.models.decoder import Decoder
from albor.training import rng
from albor.training.base import attention
from albor.training.batches import Batch
from albor.training.errors import TrainingError
from albor.training.job import Metrics
from albor.training.pretrain import fit

from .toy import MODEL, ToyBatches, equal, validation, weights


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_a_run_learns_and_reports_what_it_did(job):
    lines: list[Metrics] = []
    seen: list[tuple[int, int]] = []
    made = job(total_steps=40, log=lines.append, progress=lambda step, total, metrics: seen.append((step, total)))
    result = fit(MODEL, made).result
    assert result["initial_val_loss"] == pytest.approx(math.log(61), rel=0.02)
    assert result["val_loss"] < 0.5 * result["initial_val_loss"]
    assert result["val_ppl"] == pytest.approx(math.exp(result["val_loss"]))
    assert result["val_bits_per_byte"] == pytest.approx(result["val_loss"] / math.log(2) / 2)
    assert (result["steps"], result["tokens"], result["interrupted"]) == (40, 40 * 8 * 16, False)
    assert result["seconds"] > 0 and result["tokens_per_second"] > 0
    assert seen == [(step, 40) for step in range(1, 41)]

    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == list(range(2, 41, 2))
    assert set(trained[0]) == {"step", "tokens", "loss", "lr", "grad_norm", "grad_norm_clipped", "tokens_per_second",
                               "eta_seconds", "memory_gib"}  # fmt: skip
    assert trained[0]["lr"] == 1e-2 and trained[-1]["lr"] == pytest.approx(1e-3)
    assert all(line["tokens"] == line["step"] * 128 for line in lines)
    validated = [line for line in lines if "val_loss" in line]
    assert [line["step"] for line in validated] == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert set(validated[0]) == {"step", "tokens", "val_loss", "val_ppl", "val_bits_per_byte"}
    json.dumps(lines, allow_nan=False)


def test_the_last_two_checkpoints_are_kept_and_a_finished_run_is_not_repeated(job):
    made = job()
    first = fit(MODEL, made)
    assert sorted(path.name for path in made.directory.iterdir()) == ["scores.json", "step-00000008", "step-00000012"]
    again = fit(MODEL, made)
    assert equal(weights(first), weights(again))
    assert again.result["val_loss"] == first.result["val_loss"] and again.result["seconds"] == first.result["seconds"]


def test_two_runs_with_one_seed_are_equal_and_with_another_are_not(job, tmp_path):
    runs = [fit(MODEL, job(seed=seed, directory=tmp_path / str(n))) for n, seed in enumerate((42, 42, 43))]
    assert equal(weights(runs[0]), weights(runs[1])) and not equal(weights(runs[0]), weights(runs[2]))


def test_a_run_is_extended_by_raising_its_steps(job):
    fit(MODEL, job())
    result = fit(MODEL, job(total_steps=20)).result
    assert result["steps"] == 20 and not result["interrupted"]


def test_a_signal_before_the_first_step_saves_the_initial_weights(job, tmp_path):
    def interrupted() -> list[Batch]:
        os.kill(os.getpid(), signal.SIGTERM)
        return validation()

    result = fit(MODEL, job(validation=interrupted)).result
    assert (result["steps"], result["interrupted"]) == (0, True) and "val_loss" not in result
    assert equal(weights(fit(MODEL, job())), weights(fit(MODEL, job(directory=tmp_path / "uninterrupted"))))


@pytest.mark.parametrize(
    ("moment", "stopped"), [("step 7", 8), ("step 11", 12), ("validation 5", 5), ("validation 12", 12)]
)
def test_a_run_is_not_done_before_its_last_validation(job, tmp_path, moment, stopped) -> None:
    """A signal in the last step, or in a validation: that one is made whole when the run goes on."""
    what, number = moment.split()
    done = [0]

    def progress(step: int, total: int, metrics: object) -> None:
        done.append(step)
        if moment == f"step {step}":
            os.kill(os.getpid(), signal.SIGTERM)

    def validations() -> Iterator[Batch]:
        batches = iter(validation())
        yield next(batches)
        if what == "validation" and done[-1] == int(number) - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from batches

    lines: list[Metrics] = []
    result = fit(MODEL, job(validation=validations, progress=progress, log=lines.append)).result
    assert (result["steps"], result["interrupted"]) == (stopped, True)
    again = fit(MODEL, job(log=lines.append))
    whole = fit(MODEL, job(directory=tmp_path / "whole")).result
    assert not again.result["interrupted"] and again.result["val_loss"] == whole["val_loss"]
    assert [line["step"] for line in lines if "val_loss" in line] == [0, 5, 10, 12]


@pytest.mark.slow
def test_a_compiled_run_is_nearly_the_same(job, tmp_path):
    compiled, eager = (fit(MODEL, job(compile=flag, directory=tmp_path / str(flag))).result for flag in (True, False))
    assert compiled["val_loss"] == pytest.approx(eager["val_loss"], rel=1e-3)


def test_given_weights_are_where_training_starts(job):
    torch.manual_seed(9)
    init = Decoder(MODEL).state_dict()
    made = job(total_steps=1, optim=AdamW(lr=1e-12, weight_decay=0.0))
    assert all((init[n] - tensor).abs().max() < 1e-6 for n, tensor in weights(fit(MODEL, made, init)).items())


@pytest.mark.contract("C-KERNEL-009", level=2)
def test_accumulated_gradients_equal_those_of_one_large_batch(job, tmp_path):
    """Also when the micro-batches differ in the number of their valid labels."""

    class Ragged(ToyBatches):
        def __iter__(self):
            for tokens, labels in super().__iter__():
                labels = np.where((tokens % 3 == 0) & (tokens < 30), -100, labels)
                yield tokens, labels

    def run(micro: int, accum: int) -> dict[str, torch.Tensor]:
        made = job(total_steps=3, micro_batch_size=micro, grad_accum=accum, directory=tmp_path / str(micro),
                   train=lambda rank, world: Ragged(32, micro, seed=1), optim=AdamW(lr=1e-3, eps=1e-3))  # fmt: skip
        return weights(fit(MODEL, made))

    large, small = run(8, 1), run(2, 4)
    for name in large:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6)


def test_bf16_trains_float32_masters(job):
    trained = fit(MODEL, job(precision="bf16", total_steps=40))
    assert {tensor.dtype for tensor in trained.weights.values()} == {torch.float32}
    assert trained.result["val_loss"] < 0.6 * trained.result["initial_val_loss"]


def test_one_step_that_is_not_finite_is_skipped_told_and_its_batch_kept(job, poison, capsys):
    lines: list[dict[str, Any]] = []
    poison({4})
    made = job(log=lines.append)
    trained = fit(MODEL, made)
    assert trained.result["steps"] == 12
    assert all(tensor.isfinite().all() for tensor in weights(trained).values())
    assert "grad_norm" not in next(line for line in lines if line["step"] == 4 and "loss" in line)
    assert [(line["alert"], line["step"]) for line in lines if "alert" in line] == [("non-finite", 4)]
    assert "warning[A-non-finite] step 4: the loss was" in capsys.readouterr().err
    place = made.directory.parent / "non-finite"
    batches = load_file(place / "step-00000004-rank-0.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in batches.items()} == {
        f"{kind}.{index}": (4, 16) for kind in ("tokens", "labels") for index in (0, 1)
    }
    facts = json.loads((place / "step-00000004-rank-0.json").read_text())
    assert (facts["step"], facts["grad_norm"], facts["next_position"]) == (4, "nan", {"epoch": 1, "batch": 3})


def test_a_skipped_step_changes_nothing_but_the_count(job, poison, tmp_path):
    reference = fit(
        MODEL, job(total_steps=4, directory=tmp_path / "a" / "c", optim=AdamW(lr=1e-3, schedule="constant"))
    )
    poison({5})
    skipped = fit(MODEL, job(total_steps=5, directory=tmp_path / "b" / "c", optim=AdamW(lr=1e-3, schedule="constant")))
    assert equal(weights(reference), weights(skipped))


@pytest.mark.parametrize("second", [6, 8])
def test_the_second_step_that_is_not_finite_stops_the_run(job, poison, second):
    made = job()
    poison({5, second})
    with pytest.raises(TrainingError, match=f"step {second} is the second") as error:
        fit(MODEL, made)
    assert error.value.help
    assert [path.name for path in made.directory.glob("step-*")] == ["step-00000004"]
    assert len(list((made.directory.parent / "non-finite").glob("*.safetensors"))) == 2


def test_a_skipped_step_is_remembered_over_a_resume(job, poison):
    poison({3, 11})
    fit(MODEL, job(stop_at=8))
    with pytest.raises(TrainingError, match="step 11 is the second"):
        fit(MODEL, job())


def test_validation_without_labels_is_refused(job):
    with pytest.raises(TrainingError, match="no labels"):
        fit(MODEL, job(validation=list))


def test_random_states_come_back():
    rng.seed_all(5)
    state = json.loads(json.dumps(rng.capture(torch.device("cpu"))))
    first = (torch.rand(1).item(), np.random.rand(), __import__("random").random())
    rng.restore(state, torch.device("cpu"))
    assert (torch.rand(1).item(), np.random.rand(), __import__("random").random()) == first


def test_deterministic_attention_avoids_cudnn(job):
    trainer = dataclasses.replace(job().trainer, precision="bf16", deterministic=True)
    with attention(torch.device("cuda"), trainer):
        assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()
