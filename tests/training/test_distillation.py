"""Distillation's divergences and loss: C-KERNEL-001 to 005."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
import z3
from torch import Tensor

from albor.training.distillation import distillation_loss, kl, soften, top_k_kl

CASES = 10_000
SHAPES = pytest.mark.parametrize(("vocabulary", "scale"), [(2, 1.0), (7, 30.0), (64, 5.0), (300, 1e-3), (64, 100.0)])


def logits(seed: int, vocabulary: int, scale: float = 3.0, cases: int = CASES) -> Tensor:
    return scale * torch.randn(cases, vocabulary, generator=torch.Generator().manual_seed(seed))


def top(teacher: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Ids and log-probabilities, as a teacher's shard keeps them."""
    log_probs, ids = soften(teacher, temperature).topk(k)
    return ids, log_probs


def exact(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (F.log_softmax(z.double() / temperature, -1) for z in (teacher, student))
    return (p.exp() * (p - q)).sum(-1)


@pytest.mark.contract("C-KERNEL-001", level=3)
@SHAPES
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergences_are_not_negative(vocabulary: int, scale: float, temperature: float) -> None:
    teacher, student = logits(0, vocabulary, scale), logits(1, vocabulary, scale)
    # Near ones, where rounding could leave less than nothing, and far ones.
    for other in (student, teacher + 1e-3 * student, teacher + 1e-6 * student, teacher + 7, teacher.flip(-1)):
        found = kl(other, teacher, temperature=temperature)
        assert found.min() >= -1e-7
        torch.testing.assert_close(found.double(), exact(other, teacher, temperature), rtol=2e-5, atol=5e-6)
    assert not kl(teacher, teacher, temperature=temperature).any()
    assert kl(student, teacher).max() > 0


@pytest.mark.contract("C-KERNEL-001", "C-KERNEL-002", level=3)
@SHAPES
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_top_k_with_a_tail_are_at_most_the_whole(vocabulary: int, scale: float, temperature: float) -> None:
    teacher, student = logits(2, vocabulary, scale), logits(3, vocabulary, scale)
    for other in (student, teacher + 1e-4 * student):
        before = torch.zeros(())
        # What 1 - Σp leaves of a tail that is smaller than float32 sees, against the least that the student gives it.
        rounding = 5e-7 * (20 - soften(other, temperature).amin(-1))
        whole = kl(other, teacher, temperature=temperature)
        for k in sorted({1, vocabulary // 2, vocabulary - 1, vocabulary}):
            found = top_k_kl(other, *top(teacher, k, temperature), temperature=temperature)
            assert found.min() >= -1e-7
            assert (found >= before - rounding).all(), "more tokens tell more"
            before = found
        torch.testing.assert_close(before, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.contract("C-KERNEL-002", level=4)
@pytest.mark.parametrize("buckets", range(1, 13))
def test_no_divergence_of_buckets_is_negative_at_all(buckets: int) -> None:
    """For any masses p ≥ 0 and q > 0 in up to 12 buckets, Σ p·ln(p/q) − p + q ≥ 0 in real arithmetic, which is what is
    summed up; with Σp = Σq = 1 it is the divergence. Of p·ln(q/p), the solver knows only the lemma, times p.

    Lemma, not proven here: ln x ≤ x − 1 for x > 0 (ln is concave; x − 1 is its tangent at 1), and 0·ln 0 = 0.
    """
    p, q, log = (z3.Reals(" ".join(f"{name}{i}" for i in range(buckets))) for name in ("p", "q", "p_log"))
    ratio, logarithm, mass = z3.Reals("ratio logarithm mass")
    solver = z3.Solver()
    solver.add(mass > 0, ratio > 0, logarithm <= ratio - 1, mass * logarithm > mass * ratio - mass)
    assert solver.check() == z3.unsat, "the lemma for x = q/p, times p: p·ln(q/p) ≤ q − p"
    solver = z3.Solver()
    solver.add(*(a >= 0 for a in p), *(b > 0 for b in q), *(c <= b - a for a, b, c in zip(p, q, log, strict=True)))
    assert solver.check() == z3.sat
    solver.push()
    solver.add(z3.Sum(*(b - a - c for a, b, c in zip(p, q, log, strict=True))) < 0)
    assert solver.check() == z3.unsat
    solver.pop()
    solver.add(z3.Sum(*p) == 1, z3.Sum(*q) == 1, z3.Sum(*(-c for c in log)) < 0)
    assert solver.check() == z3.unsat


GRID = 12
"""Masses of the distributions that are all tried, in twelfths."""


def distributions(vocabulary: int, least: int) -> list[tuple[int, ...]]:
    return [d for d in itertools.product(range(least, GRID + 1), repeat=vocabulary) if sum(d) == GRID]


@pytest.mark.contract("C-KERNEL-002", level=4)
@pytest.mark.parametrize("vocabulary", [2, 3, 4])
def test_every_small_distribution(vocabulary: int) -> None:
    """What the code gives in float32 is what the formula says, is not negative, and does not exceed the whole: for
    every teacher and student whose probabilities are twelfths over 2 to 4 tokens (a student's not 0), and every k."""
    pairs = list(itertools.product(distributions(vocabulary, 0), distributions(vocabulary, 1)))
    p, q = (torch.tensor([pair[i] for pair in pairs], dtype=torch.float32) / GRID for i in (0, 1))
    student, teacher = q.log(), p.clamp(min=1e-38).log()
    whole = [divergence(a, b, range(vocabulary)) for a, b in pairs]
    for k in range(1, vocabulary + 1):
        log_probs, ids = teacher.topk(k)
        found = top_k_kl(student, ids, log_probs)
        expected = [divergence(a, b, kept) for (a, b), kept in zip(pairs, ids.tolist(), strict=True)]
        assert found.min() >= -1e-7
        torch.testing.assert_close(found.double(), torch.tensor(expected).double(), rtol=0, atol=2e-6)
        assert (found.double() <= torch.tensor(whole).double() + 2e-6).all()


def divergence(p: tuple[int, ...], q: tuple[int, ...], kept: Sequence[int]) -> float:
    """Of the tokens ``kept`` and one bucket of the rest."""
    buckets = [(p[i], q[i]) for i in kept]
    a, b = (GRID - sum(masses) for masses in zip(*buckets, strict=True))
    return math.fsum(x / GRID * math.log(x / y) for x, y in (*buckets, (a, b)) if x)


@pytest.mark.contract("C-KERNEL-003", level=3)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_without_a_share_of_the_teacher_it_is_cross_entropy_to_the_bit(temperature: float) -> None:
    student, teacher = logits(4, 33), logits(5, 33)
    labels = torch.randint(-1, 33, (CASES,), generator=torch.Generator().manual_seed(6))
    labels = torch.where(labels == -1, -100, labels)
    for divergence in (
        kl(student, teacher, temperature=temperature),
        top_k_kl(student, *top(teacher, 5, temperature), temperature=temperature),
    ):
        found = distillation_loss(student, labels, divergence, temperature=temperature, alpha=0.0)
        assert torch.equal(found, F.cross_entropy(student, labels, reduction="none"))
        only = distillation_loss(student, labels, divergence, temperature=temperature, alpha=1.0)
        assert torch.equal(only, torch.where(labels == -100, 0, temperature**2 * divergence))
        half = distillation_loss(student, labels, divergence, temperature=temperature, alpha=0.5)
        torch.testing.assert_close(half, (found + only) / 2)


@pytest.mark.contract("C-KERNEL-004", level=3)
@pytest.mark.parametrize("k", [None, 1, 3, 8])
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (4.0, 0.5), (2.0, 0.1)])
def test_the_gradient_is_the_slope(k: int | None, temperature: float, alpha: float) -> None:
    """Of every logit of every case, by central differences in float64; the gradient itself also in float32."""
    vocabulary, step = 8, 1e-4
    teacher, student = logits(7, vocabulary).double(), logits(8, vocabulary).double()
    student[: CASES // 4] = teacher[: CASES // 4]  # at the minimum, where terms of the divergence vanish
    labels = torch.randint(0, vocabulary, (CASES,), generator=torch.Generator().manual_seed(9))

    def loss(z: Tensor) -> Tensor:
        apart = (
            kl(z, teacher.to(z.dtype), temperature=temperature)
            if k is None
            else top_k_kl(z, *top(teacher.to(z.dtype), k, temperature), temperature=temperature)
        )
        return distillation_loss(z, labels, apart, temperature=temperature, alpha=alpha)

    def gradient(z: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(loss(z.requires_grad_()).sum(), z)
        return found

    nudges = step * torch.eye(vocabulary, dtype=torch.float64)
    slope = torch.stack([(loss(student + n) - loss(student - n)) / (2 * step) for n in nudges], dim=-1)
    assert (gradient(student.clone()) - slope).abs().max() < 1e-4
    assert (gradient(student.float()) - slope).abs().max() < 1e-4
    assert slope.abs().max() > 0.1


@pytest.mark.contract("C-KERNEL-005", level=3)
@pytest.mark.parametrize(("vocabulary", "scale"), [(2, 0.1), (64, 4.0), (1_000, 30.0)])
def test_a_high_temperature_flattens(vocabulary: int, scale: float) -> None:
    z = logits(10, vocabulary, scale)
    flat = soften(z, 1000.0).exp()
    assert (flat.amax(-1) - flat.amin(-1)).max() < 1e-3
    sharp = soften(z, 1.0).exp()
    assert (sharp.amax(-1) - sharp.amin(-1)).min() > (flat.amax(-1) - flat.amin(-1)).max() or scale < 1


def test_a_teacher_in_half_precision_and_a_student_in_bf16() -> None:
    teacher, student = logits(11, 50), logits(12, 50)
    ids, log_probs = top(teacher, 10, 1.0)
    for k in (10, 50):
        ids, log_probs = top(teacher, k, 1.0)
        found = top_k_kl(student.bfloat16(), ids, log_probs.half())
        assert found.dtype == torch.float32 and found.min() >= -1e-7
        torch.testing.assert_close(found, top_k_kl(student, ids, log_probs), rtol=0.05, atol=0.05)


def test_a_student_that_is_sure_of_the_wrong_token_has_a_finite_loss_and_slope() -> None:
    student = torch.tensor([[0.0, 300.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[300.0, 0.0, 0.0]])
    for found in (kl(student, teacher), top_k_kl(student, *top(teacher, 1, 1.0))):
        assert found.item() == pytest.approx(300.0)
        (gradient,) = torch.autograd.grad(found.sum(), student)
        torch.testing.assert_close(gradient, torch.tensor([[-1.0, 1.0, 0.0]]))
