import dataclasses
import json
import math
import os
import signal

import numpy as np
import pytest
import torch

from albor.config.schema.optim import AdamW
from albor.models.decoder import Decoder
from albor.training import optimizer, rng
from albor.training.base import attention
from albor.training.batches import Batch
from albor.training.errors import TrainingError
from albor.training.job import Metrics
from albor.training.pretrain import fit

from .toy import MODEL, ToyBatches, validation


def weights(trained) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


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
    assert set(trained[0]) == {"step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second"}
    assert trained[0]["lr"] == 1e-2 and trained[-1]["lr"] == pytest.approx(1e-3)
    assert all(line["tokens"] == line["step"] * 128 for line in lines)
    validated = [line for line in lines if "val_loss" in line]
    assert [line["step"] for line in validated] == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert set(validated[0]) == {"step", "tokens", "val_loss", "val_ppl", "val_bits_per_byte"}
    json.dumps(lines, allow_nan=False)


def test_the_last_two_checkpoints_are_kept_and_a_finished_run_is_not_repeated(job):
    made = job()
    first = fit(MODEL, made)
    assert sorted(path.name for path in made.directory.iterdir()) == ["step-00000008", "step-00000012"]
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
    assert (result["steps"], result["interrupted"]) == (0, True) and result["val_loss"] > 0
    assert equal(weights(fit(MODEL, job())), weights(fit(MODEL, job(directory=tmp_path / "uninterrupted"))))


@pytest.mark.slow
def test_a_compiled_run_is_nearly_the_same(job, tmp_path):
    compiled, eager = (fit(MODEL, job(compile=flag, directory=tmp_path / str(flag))).result for flag in (True, False))
    assert compiled["val_loss"] == pytest.approx(eager["val_loss"], rel=1e-3)


def test_given_weights_are_where_training_starts(job):
    torch.manual_seed(9)
    init = Decoder(MODEL).state_dict()
    made = job(total_steps=1, optim=AdamW(lr=1e-12, weight_decay=0.0))
    assert all((init[n] - tensor).abs().max() < 1e-6 for n, tensor in weights(fit(MODEL, made, init)).items())


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
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert trained.result["val_loss"] < 0.6 * trained.result["initial_val_loss"]


def test_precision_that_is_not_there_is_refused(job):
    with pytest.raises(TrainingError, match="fp8") as error:
        fit(MODEL, job(precision="fp8"))
    assert error.value.help


class Poisoned:
    """Breaks the loss at the given steps, by making a weight's gradient not a number."""

    def __init__(self, monkeypatch, steps: set[int]) -> None:
        self.step, self.steps = 0, steps
        self.clip = optimizer.clip
        monkeypatch.setattr(optimizer, "clip", self)

    def __call__(self, parameters, max_norm):
        self.step += 1
        parameters = list(parameters)
        if self.step in self.steps:
            parameters[0].grad[0] = math.nan
        return self.clip(parameters, max_norm)


def test_one_step_that_is_not_finite_is_skipped(job, monkeypatch):
    lines: list[Metrics] = []
    Poisoned(monkeypatch, {4, 8})
    trained = fit(MODEL, job(log=lines.append))
    assert trained.result["steps"] == 12
    assert all(tensor.isfinite().all() for tensor in weights(trained).values())
    assert "grad_norm" not in next(line for line in lines if line["step"] == 4 and "val_loss" not in line)


def test_a_skipped_step_changes_nothing_but_the_count(job, monkeypatch, tmp_path):
    reference = fit(MODEL, job(total_steps=4, directory=tmp_path / "a", optim=AdamW(lr=1e-3, schedule="constant")))
    Poisoned(monkeypatch, {5})
    skipped = fit(MODEL, job(total_steps=5, directory=tmp_path / "b", optim=AdamW(lr=1e-3, schedule="constant")))
    assert equal(weights(reference), weights(skipped))


def test_two_in_a_row_stop_the_run_before_a_checkpoint(job, monkeypatch):
    made = job()
    Poisoned(monkeypatch, {7, 8})
    with pytest.raises(TrainingError, match=r"two steps in a row .*step 8") as error:
        fit(MODEL, made)
    assert error.value.help
    assert [path.name for path in made.directory.iterdir()] == ["step-00000004"]


def test_validation_without_labels_is_refused(job):
    with pytest.raises(TrainingError, match="no labels"):
        fit(MODEL, job(validation=list))


def test_learning_rates_are_those_of_the_specification():
    rate = optimizer.learning_rate(AdamW(lr=3e-4), step=43, warmup_steps=2000, total_steps=5000)
    assert rate == pytest.approx(6.45e-6)


def test_only_matrices_decay():
    model = Decoder(MODEL)
    matrices, vectors = optimizer.build(model, AdamW(lr=1e-3, weight_decay=0.3)).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)
    assert {p.dim() for p in matrices["params"]} == {2} and {p.dim() for p in vectors["params"]} == {1}
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(model.parameters()))


def test_random_states_come_back():
    rng.seed_all(5)
    state = json.loads(json.dumps(rng.capture()))
    first = (torch.rand(1).item(), np.random.rand(), __import__("random").random())
    rng.restore(state)
    assert (torch.rand(1).item(), np.random.rand(), __import__("random").random()) == first


def test_deterministic_attention_avoids_cudnn(job):
    trainer = dataclasses.replace(job().trainer, precision="bf16", deterministic=True)
    with attention(torch.device("cuda"), trainer):
        assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()
