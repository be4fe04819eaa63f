"""Students: what they minimise, chunk by chunk; live and stored teachers; and what stops them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.schema.distill import Distill, Divergence
from albor.data.logits import Layout, Logits, write
from albor.models.decoder import Decoder
from albor.models.loss import IGNORED
from albor.training import distillation
from albor.training.dictation import BLOCK, Copies, apart, dictate, drawn, likeliest, write_behind
from albor.training.distill import fit
from albor.training.distillation import (
    DIVERGENCES,
    Live,
    Sampled,
    TopK,
    distillation_loss,
    linear_distillation,
    soften,
    top_k_kl,
)
from albor.training.errors import TrainingError
from albor.training.teacher import DecoderTeacher
from tests.training.toy import MODEL, SEQ_LEN, ToyBatches, equal, toy_job, weights

N, V, H = 37, 50, 16
RECIPES = pytest.mark.parametrize(("temperature", "alpha"), [(4.0, 0.5), (1.0, 1.0), (2.0, 0.0)])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distillation.LOGIT_BYTES, "cpu", 4 * V * 10)  # several, the last one smaller


def student() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, V, (N,))
    labels[3] = IGNORED
    return torch.randn(N, H).requires_grad_(), torch.randn(V, H).requires_grad_(), labels


def assert_same_slope(found: Tensor, expected: Tensor, *of: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for a, b in zip(*(torch.autograd.grad(loss, of, retain_graph=True) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def reference(kind: Divergence, p: Tensor, q: Tensor) -> Tensor:
    """By definition, of log-probabilities."""
    mean = ((p.exp() + q.exp()) / 2).log()
    found = {
        "forward_kl": lambda: p.exp() * (p - q),
        "reverse_kl": lambda: q.exp() * (q - p),
        "jensen_shannon": lambda: (p.exp() * (p - mean) + q.exp() * (q - mean)) / 2,
    }
    return found[kind]().sum(-1)


@pytest.mark.contract("C-KERNEL-004", level=2)
@RECIPES
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_chunks_have_the_slope_of_the_whole(kind: Divergence, temperature: float, alpha: float) -> None:
    hidden, weight, labels = student()
    theirs, head = torch.randn(N, 8), torch.randn(V + 5, 8)  # a padded vocabulary
    recipe: dict[str, Any] = {"temperature": temperature, "alpha": alpha}
    found, divergence = linear_distillation(hidden, weight, labels, Live(theirs, head, kind), **recipe)
    logits = hidden @ weight.T
    parts = reference(kind, soften(theirs @ head[:V].T, temperature), soften(logits, temperature))
    assert_same_slope(found, distillation_loss(logits, labels, parts, **recipe).sum(), hidden, weight)
    torch.testing.assert_close(divergence, parts[labels != IGNORED].sum().detach(), rtol=1e-4, atol=1e-4)
    assert not divergence.requires_grad


@RECIPES
@pytest.mark.parametrize("k", [1, 9, V])
def test_the_likeliest_and_a_tail(k: int, temperature: float, alpha: float) -> None:
    hidden, weight, labels = student()
    log_probs, ids = soften(2 * torch.randn(N, V), temperature).topk(k)
    recipe: dict[str, Any] = {"temperature": temperature, "alpha": alpha}
    found, _ = linear_distillation(hidden, weight, labels, TopK(ids.int(), log_probs), **recipe)
    logits = hidden @ weight.T
    parts = top_k_kl(logits, ids, log_probs, temperature=temperature)
    assert_same_slope(found, distillation_loss(logits, labels, parts, **recipe).sum(), hidden, weight)


def test_draws_are_an_unbiased_slope() -> None:
    hidden, weight, labels = student()
    log_probs = soften(2 * torch.randn(N, V), 1.0)
    recipe: dict[str, Any] = {"temperature": 1.0, "alpha": 1.0}
    logits = hidden @ weight.T
    whole = distillation_loss(logits, labels, reference("forward_kl", log_probs, soften(logits, 1.0)), **recipe).sum()
    (exact,) = torch.autograd.grad(whole, hidden, retain_graph=True)
    slopes = []
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.multinomial(log_probs.exp(), 12, replacement=True, generator=generator).int()
        found, divergence = linear_distillation(hidden, weight, labels, Sampled(ids), **recipe)
        assert divergence > 0
        slopes.append(torch.autograd.grad(found, hidden)[0])
    error = (torch.stack(slopes).mean(0) - exact).norm() / exact.norm()
    one = (slopes[0] - exact).norm() / exact.norm()
    assert error < 0.08 < one, "the mean of many draws is the slope; one draw is not"


def test_equal_draws_count_together() -> None:
    hidden, weight, labels = student()
    shares = torch.tensor([[0.5, 0.25, 0.25]]).repeat(N, 1)
    ids = torch.tensor([[7, 9, 7, 30]]).repeat(N, 1)
    found, divergence = linear_distillation(hidden, weight, labels, Sampled(ids), temperature=1.0, alpha=1.0)
    known = F.log_softmax(hidden @ weight.T, -1)[:, [7, 9, 30]]
    expected = (shares * (shares.log() - known)).sum(-1)[labels != IGNORED].sum()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(divergence, expected)


# --- training ---


def teacher(seed: int = 5) -> DecoderTeacher:
    torch.manual_seed(seed)
    made = Decoder(replace(MODEL, hidden_size=48, num_hidden_layers=3))
    for parameter in made.parameters():
        parameter.data *= 1.7  # to have opinions
    return DecoderTeacher(made, compile=False)


def live(of: DecoderTeacher) -> Any:
    def teach(tokens: Tensor, mask: Any, brought: Any) -> Live:
        with torch.no_grad():
            return Live(of.hidden(tokens, mask).flatten(0, 1), of.head, "forward_kl")

    return teach


def lines(job: Any) -> list[dict[str, Any]]:
    """What a job will have logged."""
    found: list[dict[str, Any]] = []
    object.__setattr__(job, "log", found.append)
    return found


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "checkpoints")
    logged = lines(job)
    fit(MODEL, job, None, Distill(alpha=1.0, temperature=1.0), live(teacher()))
    divergences = [line["divergence"] for line in logged if "divergence" in line]
    assert 0 < divergences[-1] < divergences[0]


def test_without_a_share_of_the_teacher_it_is_pretraining(tmp_path: Path) -> None:
    from albor.training import pretrain

    plain = pretrain.fit(MODEL, toy_job(tmp_path / "a"))
    taught = fit(MODEL, toy_job(tmp_path / "b"), None, Distill(alpha=0.0), live(teacher()))
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(tensor, weights(taught)[name], rtol=1e-3, atol=1e-5)


def test_an_interrupted_student_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    recipe, whole = Distill(), tmp_path / "whole"
    expected = weights(fit(MODEL, toy_job(whole), None, recipe, live(teacher())))
    part = tmp_path / "part"
    fit(MODEL, toy_job(part, stop_at=5), None, recipe, live(teacher()))
    assert equal(expected, weights(fit(MODEL, toy_job(part), None, recipe, live(teacher()))))


def test_a_negative_divergence_ends_the_run(tmp_path: Path) -> None:
    class Wrong(Sampled):
        def compare(self, student: Tensor, temperature: float, *chunk: Tensor) -> tuple[Tensor, Tensor]:
            divergence, error = super().compare(student, temperature, *chunk)
            return -divergence, error

    def teach(tokens: Tensor, mask: Any, brought: Any) -> Wrong:
        return Wrong(torch.zeros(tokens.numel(), 3, dtype=torch.int32))

    with pytest.raises(TrainingError, match="none is negative"):
        fit(MODEL, toy_job(tmp_path / "checkpoints"), None, Distill(), teach)


# --- what a teacher says, stored ---


def layout(**changes: Any) -> Layout:
    values: dict[str, Any] = {"keep": "top_k", "k": MODEL.vocab_size, "seq_len": SEQ_LEN, "token_bytes": 2,
                              "temperature": 4.0}  # fmt: skip
    return Layout(**{**values, **changes})


class Beside(ToyBatches):
    """Batches that bring what a teacher said of them."""

    def __init__(self, of: DecoderTeacher, kept: Layout, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.of, self.kept = of, kept

    def __iter__(self) -> Iterator[Any]:
        for tokens, labels in super().__iter__():
            said = dictate(
                self.of, torch.from_numpy(tokens.copy()), None, self.kept, vocab_size=MODEL.vocab_size, seed=3
            )
            yield (tokens, labels, *(tensor.numpy() for tensor in said))


def test_learning_from_what_was_stored_is_learning_live(tmp_path: Path) -> None:
    of, recipe = teacher(), Distill()
    expected = weights(fit(MODEL, toy_job(tmp_path / "live"), None, recipe, live(of)))
    job = toy_job(
        tmp_path / "stored",
        train=lambda rank, world: Beside(of, layout(), 22, 4, seed=42, rank=rank, world_size=world),
    )

    def teach(tokens: Tensor, mask: Any, brought: tuple[Tensor, ...]) -> TopK:
        return TopK(*(tensor.flatten(0, 1) for tensor in brought))

    found = weights(fit(MODEL, job, None, recipe, teach))
    for name, tensor in expected.items():
        torch.testing.assert_close(tensor, found[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kept", [layout(k=7), layout(keep="sampled", k=12), layout(k=7, token_bytes=4)])
def test_what_was_stored_is_what_the_teacher_says(kept: Layout, tmp_path: Path) -> None:
    of, tokens = teacher(), torch.randint(0, MODEL.vocab_size, (10, SEQ_LEN))
    parts = [
        dictate(of, rows, None, kept, vocab_size=MODEL.vocab_size, seed=n) for n, rows in enumerate(tokens.split(4))
    ]
    for number, part in enumerate(parts[:2]):
        write_behind([Copies(part)], partial(write, tmp_path / f"{number}.parquet", layout=kept))
    write_behind([Copies(parts[2])], lambda tables: write(tmp_path / "2.parquet", tables, kept))
    stored = Logits([tmp_path / f"{n}.parquet" for n in range(3)])
    assert len(stored) == 10 and stored.layout == kept
    read = stored.read(np.array([9, 0, 5]), SEQ_LEN)
    for column, value in enumerate(read):
        whole = torch.cat([part[column] for part in parts])
        assert np.array_equal(value, whole[[9, 0, 5]].numpy())
    assert apart(stored.read(np.arange(4), SEQ_LEN), parts[0], kept) <= 1e-4
    assert math.isinf(apart(stored.read(np.arange(4, 8), SEQ_LEN), parts[0], kept))
    assert [value.shape[1] for value in stored.read(np.arange(2), 5)] == [5] * len(read)
    size = sum((tmp_path / f"{n}.parquet").stat().st_size for n in range(3))
    assert 0 < size - kept.bytes_per_token * 10 * SEQ_LEN < 10_000, "nothing but the values, and footers"


def test_a_disk_that_refuses_ends_the_scoring(tmp_path: Path) -> None:
    def refuse(tables: Any) -> None:
        next(tables)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_behind((Copies((torch.zeros(1),)) for _ in range(50)), refuse)


def test_scoring_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def batches() -> Iterator[Copies]:
        yield Copies(dictate(teacher(), torch.zeros(4, SEQ_LEN, dtype=torch.long), None, layout(),
                             vocab_size=MODEL.vocab_size, seed=0))  # fmt: skip
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_behind(batches(), lambda tables: write(tmp_path / "0.parquet", tables, layout()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("vocabulary", [5, BLOCK, 3 * BLOCK + 7])
def test_draws_follow_the_distribution(vocabulary: int) -> None:
    logits = 3 * torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(1))
    logits[0, 1] = -torch.inf
    generator = torch.Generator().manual_seed(2)
    (ids,) = drawn(logits.expand(200, -1), 1000, 2.0, generator=generator, compile=False)
    expected = soften(logits, 2.0).exp()[0]
    found = ids.flatten().long().bincount(minlength=vocabulary) / ids.numel()
    assert found.shape == expected.shape and found[1] == 0
    deviation = (found - expected) / (expected * (1 - expected) / ids.numel()).sqrt().clamp(min=1e-9)
    assert deviation[expected > 1e-4].abs().max() < 5, "within five standard deviations, each token"


def test_the_likeliest_have_their_log_probabilities() -> None:
    logits = torch.randn(9, 300)
    ids, found = likeliest(logits, 20, 4.0, compile=False)
    torch.testing.assert_close(found, soften(logits, 4.0).gather(-1, ids.long()))
    assert found.min(-1).values.allclose(soften(logits, 4.0).topk(20).values[:, -1])
