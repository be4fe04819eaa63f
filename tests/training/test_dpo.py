import math
import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from albor.config.schema.finetune import Dpo, FullFinetune, Lora
from albor.config.schema.optim import AdamW
from albor.data import rows
from albor.data.loader import Batches, sequential
from albor.data.pairs import PairRows
from albor.models.decoder import Decoder
from albor.training.dpo import Preference, fit, preference_loss
from albor.training.errors import TrainingError
from albor.training.finetune import adapted_decoder
from albor.training.interrupt import Interrupt
from albor.training.watchdog import Heartbeat

from .toy import MODEL, SEQ_LEN, equal, weights

DPO = Dpo()
LORA, DORA = Lora(r=4, dropout=0.1), Lora(r=4, dora=True)
KINDS = pytest.mark.parametrize("adapter", [LORA, DORA, FullFinetune()])
slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture
def prefer(job, tmp_path_factory):
    """A job on pairs of which the chosen answer counts upwards and the rejected one downwards."""
    path, half = tmp_path_factory.mktemp("rows") / "train-00000.parquet", SEQ_LEN // 2
    starts = np.random.default_rng(0).integers(0, MODEL.vocab_size, (40, 1))
    up, down = ((starts + sign * np.arange(half)) % MODEL.vocab_size for sign in (1, -1))
    made = np.concatenate([up, down], axis=1).astype("<u2")
    ends = np.array([2, half - 1, half + 2, SEQ_LEN - 2, SEQ_LEN], dtype=np.int32)
    rows.write(path, ((row, ends) for row in made), row_len=SEQ_LEN, token_bytes=2, ends=PairRows.ENDS)
    found = PairRows(path)

    def make(**changes):
        micro = changes.get("micro_batch_size", 4)
        given = {
            "train": lambda rank, world: Batches(
                found, batch_size=micro * world, seq_len=SEQ_LEN, seed=42, rank=rank, world_size=world
            ),
            "validation": lambda: sequential(found, batch_size=4, seq_len=half),
            "val_bytes_per_token": None,
        }
        return job(**{**given, **changes})

    return make


def objective(job, init, adapter, dpo=DPO) -> Preference:
    torch.manual_seed(1)
    heartbeat = Heartbeat(job.directory.parent / "heartbeat", 0, 1, timeout=60, start_timeout=60)
    made = Preference(adapted_decoder(MODEL, job, init, adapter), job, Interrupt(), heartbeat, adapter, dpo)
    made.parts = torch.zeros(1)
    return made


def batch(job) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in next(iter(job.train(0, 1))))


def log_prob(model, tokens, labels):
    """Summed over the labels, in double precision and in one go."""
    logits = F.log_softmax(model(tokens).double(), dim=-1)
    taken = logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return torch.where(labels == -100, 0, taken).sum(-1)


@KINDS
def test_at_the_start_the_loss_is_ln_2(prefer, init, adapter):
    job = prefer()
    made = objective(job, init, adapter).train()
    loss = made.loss_sum(*batch(job)) / 4
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    if not (isinstance(adapter, Lora) and adapter.dora):  # which computes W + 0 by another way
        assert loss.item() == torch.tensor(2.0).log().item()


@KINDS
def test_the_loss_is_the_formula_on_log_probabilities(prefer, init, adapter):
    job = prefer()
    made = objective(job, init, adapter, Dpo(beta=0.5)).eval()
    with torch.no_grad():
        for parameter in made.decoder.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    start = Decoder(MODEL)
    start.load_state_dict(init)
    tokens, labels = batch(job)
    half = SEQ_LEN // 2
    parts = [(tokens[:, s], labels[:, s]) for s in (slice(0, half), slice(half, None))]
    chosen, rejected = (log_prob(made.decoder, *part) - log_prob(start, *part) for part in parts)
    expected = -(torch.sigmoid(0.5 * (chosen - rejected)).log()).sum()
    loss = made.loss_sum(tokens, labels)
    assert made.parts.item() == pytest.approx((chosen - rejected).sum().item(), rel=1e-4)
    assert abs(expected.item() - 4 * math.log(2)) > 1e-3
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    trained = [p for p in made.decoder.parameters() if p.requires_grad]
    ours, theirs = torch.autograd.grad(loss, trained), torch.autograd.grad(expected, trained)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_gradient_is_the_difference_quotient():
    margins = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: preference_loss(a, 0.3), (margins,))


def test_the_gradient_of_a_whole_model_is_the_difference_quotient(prefer, init):
    job = prefer()
    made = objective(job, init, FullFinetune(), Dpo(beta=1.0))
    tokens, labels = batch(job)
    weight = made.decoder.get_parameter("model.layers.0.mlp.down_proj.weight")
    direction = torch.randn_like(weight)
    (gradient,) = torch.autograd.grad(made.loss_sum(tokens, labels), [weight])
    values, step = [], 1e-3
    with torch.no_grad():
        for sign in (1, -2):
            weight.add_(direction, alpha=sign * step)
            values.append(made.loss_sum(tokens, labels).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=2e-2)


@pytest.mark.parametrize("adapter", [slow(LORA), DORA, FullFinetune()])
def test_what_is_preferred_becomes_likelier_and_the_reference_stays(prefer, init, adapter):
    lines: list[dict[str, float | int]] = []
    trained = fit(
        MODEL, prefer(total_steps=30, optim=AdamW(lr=1e-2), log=lines.append, log_every=1), init, adapter, DPO
    )
    losses, margins = ([line[name] for line in lines if name in line] for name in ("loss", "margin"))
    assert margins[0] == pytest.approx(0, abs=1e-4) and margins[-1] > 5
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6) and losses[-1] < 0.5 * math.log(2)
    assert trained.weights.keys() == init.keys()
    assert math.isfinite(trained.result["val_loss"])


@pytest.mark.parametrize("adapter", [slow(LORA), slow(DORA), FullFinetune()])
def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(prefer, init, tmp_path, adapter):
    def stop(step, total, metrics):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = fit(MODEL, prefer(directory=tmp_path / "whole"), init, adapter, DPO)
    assert fit(MODEL, prefer(progress=stop), init, adapter, DPO).result["interrupted"]
    assert equal(weights(whole), weights(fit(MODEL, prefer(), init, adapter, DPO)))


def test_the_size_of_micro_batches_does_not_matter(prefer, init, tmp_path):
    def run(micro):
        optim = AdamW(lr=1e-3, eps=1e-3)
        job = prefer(directory=tmp_path / str(micro), micro_batch_size=micro, grad_accum=8 // micro, total_steps=3,
                     optim=optim)  # fmt: skip
        return weights(fit(MODEL, job, init, FullFinetune(), DPO))

    large, small = run(8), run(2)
    for name in large:
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", [{"precision": "fp8"}, {"strategy": "fsdp", "devices": 2}])
def test_what_it_cannot_be_done_with_is_refused(prefer, init, changes):
    with pytest.raises(TrainingError, match="starting weights") as refused:
        fit(MODEL, prefer(**changes), init, FullFinetune(), DPO)
    assert refused.value.help
