"""Learning from likelihoods of chunks (C-KERNEL-012): the loss and its slope, and what a teacher says of documents."""

from __future__ import annotations

import functools
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.schema.distill import Distill
from albor.data.alignment import INSIDE, UNSCORED, Alignment
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe
from albor.models import loss as losses
from albor.models.decoder import Decoder
from albor.models.loss import IGNORED, linear_log_probs
from albor.training.alignment import alignment_loss, chunk_divergence, chunk_sums
from albor.training.distill import fit_aligned
from albor.training.likelihood import TeacherScorer
from albor.training.teacher import DecoderTeacher, load_teacher
from tests import foreign
from tests.training.aligning import Marked
from tests.training.ranks import check_that_two_do_what_one_does
from tests.training.toy import MODEL, toy_job

B, T, V, H = 3, 13, 50, 16


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(losses.LOGIT_BYTES, "cpu", 4 * V * 10)  # several, the last one smaller


def student() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, V, (B, T))
    labels[1, -2:] = IGNORED
    return torch.randn(B * T, H).requires_grad_(), torch.randn(V, H).requires_grad_(), labels


def marked() -> Tensor:
    """Chunks of one to five labels, some of them without a score."""
    torch.manual_seed(1)
    ends = torch.rand(B, T) < 0.5
    values = torch.where(torch.rand(B, T) < 0.2, torch.tensor(UNSCORED), -5 * torch.rand(B, T))
    marks = torch.where(ends, values, torch.tensor(INSIDE))
    marks[1, -2:] = INSIDE
    return marks


def reference(hidden: Tensor, weight: Tensor, labels: Tensor, marks: Tensor, tau: float, alpha: float) -> Tensor:
    """By definition, in float64 and one chunk after another."""
    log_probs = (hidden.double() @ weight.double().T).log_softmax(-1).view(B, T, V)
    total = torch.zeros((), dtype=torch.float64)
    for row in range(B):
        chunk = torch.zeros((), dtype=torch.float64)
        for place in range(T):
            if labels[row, place] != IGNORED:
                own = log_probs[row, place, labels[row, place]]
                total, chunk = total - (1 - alpha) * own, chunk + own
            mark = marks[row, place].double()
            if mark <= 0:
                p, q = (mark / tau).exp(), (chunk / tau).exp()
                total = total + alpha * tau * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log())
            if mark <= UNSCORED:
                chunk = torch.zeros((), dtype=torch.float64)
    return total


@pytest.mark.parametrize(("tau", "alpha"), [(100.0, 0.5), (1.0, 1.0), (7.0, 0.0)])
def test_loss_and_slope_are_those_of_the_definition(tau: float, alpha: float) -> None:
    hidden, weight, labels = student()
    found, divergence = alignment_loss(hidden, weight, labels, marked(), tau=tau, alpha=alpha)
    expected = reference(hidden, weight, labels, marked(), tau, alpha)
    torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=1e-5)
    slopes = (torch.autograd.grad(loss, (hidden, weight)) for loss in (found, expected))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert divergence > 0 and not divergence.requires_grad


def test_log_probabilities_have_the_slope_of_autograd() -> None:
    hidden, weight, labels = student()
    found = linear_log_probs(hidden, weight, labels.flatten())
    expected = -F.cross_entropy(hidden @ weight.T, labels.flatten(), ignore_index=IGNORED, reduction="none")
    torch.testing.assert_close(found, expected)
    by = torch.randn(B * T)
    slopes = (torch.autograd.grad(values, (hidden, weight), by) for values in (found, expected))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_a_share_of_the_teacher_it_is_cross_entropy() -> None:
    hidden, weight, labels = student()
    found, _ = alignment_loss(hidden, weight, labels, marked(), tau=100.0, alpha=0.0)
    expected = losses.linear_cross_entropy(hidden, weight, labels.flatten())
    torch.testing.assert_close(found, expected)


@pytest.mark.contract("C-KERNEL-012", level=3)
@pytest.mark.parametrize("tau", [1.0, 10.0, 100.0, 1e4])
def test_divergences_of_chunks_are_not_negative(tau: float) -> None:
    generator = torch.Generator().manual_seed(3)
    teacher = -(10 ** (-8 + 10 * torch.rand(10_000, generator=generator)))
    for apart in (0.0, 1e-7, 1e-3, 0.1, 3.0):
        student = teacher * (1 + apart * torch.randn(10_000, generator=generator)).abs()
        found = chunk_divergence(teacher, student, tau)
        assert found.min() >= -1e-7 and found.isfinite().all()
        log_p, log_q = (values.double().clamp(max=-1e-6) / tau for values in (teacher, student))
        p, q = log_p.exp(), log_q.exp()
        exact = p * (log_p - log_q) + (1 - p) * (torch.log1p(-p) - torch.log1p(-q))
        torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-6)
    assert not chunk_divergence(teacher, teacher, tau).any()


def test_certainty_has_a_slope() -> None:
    certain = torch.tensor([0.0, -1e-9, -50.0, -1e4], requires_grad=True)
    for teacher in (0.0, -1e-9, -3.0, -1e4):
        found = chunk_divergence(torch.full((4,), teacher), certain, 100.0)
        (slope,) = torch.autograd.grad(found.sum(), certain)
        assert found.isfinite().all() and slope.isfinite().all()


def test_sums_over_chunks() -> None:
    values = torch.arange(1.0, 8.0)[None]
    ends = torch.tensor([[0, 1, 1, 0, 0, 0, 1]], dtype=torch.bool)
    assert chunk_sums(values, ends)[ends].tolist() == [3, 3, 22]
    assert chunk_sums(values, torch.zeros_like(ends))[0, -1] == 28


# --- training ---


def test_a_student_comes_as_near_as_its_teacher_is_sure(tmp_path: Path) -> None:
    """With nothing but the teacher to learn from, it ends about as sure as that one, not surer."""
    job = toy_job(
        tmp_path / "checkpoints",
        train=lambda rank, world: Marked(22, 4, seed=42, rank=rank, world_size=world),
        total_steps=150,
    )
    logged: list[dict[str, float]] = []
    object.__setattr__(job, "log", logged.append)
    object.__setattr__(job, "trainer", job.trainer.__class__(**{**vars(job.trainer), "max_steps": 150}))
    trained = fit_aligned(MODEL, job, None, Distill(route="alignment", alpha=1.0))
    divergences = [line["divergence"] for line in logged if "divergence" in line]
    assert 0 <= divergences[-1] < divergences[0] / 20
    assert trained.result["val_loss"] == pytest.approx(0.5, abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(strategy: str, tmp_path: Path) -> None:
    check_that_two_do_what_one_does(Path(__file__).with_name("aligning.py"), strategy, tmp_path)


# --- the teacher ---


def test_documents_are_scored_as_transformers_does(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    place = foreign.qwen2(tmp_path / "teacher")
    device = torch.device("cpu")
    teacher = load_teacher(place, dtype=torch.float32, device=device, compile=False)
    score = TeacherScorer(teacher, device, context=20, tokens=40)
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, 600, size).tolist() for size in (7, 30, 1, 20, 2, 0, 9, 9)]
    found = score(documents)
    assert [len(scores) for scores in found] == [6, 19, 0, 19, 1, 0, 8, 8]
    theirs = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    for document, scores in zip(documents, found, strict=True):
        if len(scores):
            ids = torch.tensor([document[:20]])
            with torch.no_grad():
                expected = theirs(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
            np.testing.assert_allclose(scores, expected.numpy(), atol=2e-5)
    again = score(documents)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("other", [False, True])
def test_a_student_has_no_divergence_from_itself(other: bool) -> None:
    """Each reads the text in its own tokens; equal models with equal tokens agree in every one of them."""
    texts = [Path(module.__file__ or "").read_text(encoding="utf-8")[:900] for module in (textwrap, functools)]
    own = Codec(train_bpe(texts, vocab_size=300), fim=(PREFIX, SUFFIX, MIDDLE))
    theirs = foreign.codec(300) if other else own
    torch.manual_seed(0)
    student, teacher = (Decoder(replace(MODEL, vocab_size=300, max_position_embeddings=999)) for _ in range(2))
    teacher.load_state_dict(student.state_dict())
    tokens = np.array([[*own.encode(texts[0]), own.eos_id]])
    ends = [np.array([tokens.shape[1]], dtype=np.int32)]
    alignment = Alignment(own, theirs, start_id=None, context=999)
    marks, documents = alignment.read(tokens, ends, tokens.shape[1] - 1)
    score = TeacherScorer(DecoderTeacher(teacher, compile=False), torch.device("cpu"), context=999, tokens=99)
    scores = score([document.ids for document in documents])
    alignment.write(marks, documents, scores)
    if not other:
        np.testing.assert_allclose(marks[0], scores[0], atol=1e-6)
    given = torch.from_numpy(tokens)
    loss = partial(alignment_loss, labels=given[:, 1:], marks=torch.from_numpy(marks), tau=100.0, alpha=1.0)
    _, divergence = student.reduce(given[:, :-1], None, loss)
    assert (divergence > 1e-3) if other else (0 <= divergence < 1e-6)


def test_vllm_is_asked_as_it_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind its documented interface stands transformers: this tells which number is of which token."""
    from albor.training.vllm_scorer import VllmScorer

    place = foreign.qwen2(tmp_path / "teacher")
    teacher = load_teacher(place, dtype=torch.float32, device=torch.device("cpu"), compile=False)

    class LLM:
        def __init__(self, *, model: str, max_model_len: int, enable_prefix_caching: bool, **_: Any) -> None:
            assert model == str(place) and not enable_prefix_caching
            self.longest = max_model_len - 1

        def generate(self, prompts: list[dict[str, list[int]]], params: Any, use_tqdm: bool) -> list[Any]:
            found = []
            for prompt in prompts:
                ids = prompt["prompt_token_ids"]
                assert 0 < len(ids) <= self.longest
                hidden = teacher.hidden(torch.tensor([ids]))[0]
                said = (hidden @ teacher.head.T).log_softmax(-1).tolist()
                likeliest = [{int(np.argmax(row)): SimpleNamespace(logprob=max(row))} for row in said]
                own = [{token: SimpleNamespace(logprob=row[token])} for token, row in zip(ids[1:], said, strict=False)]
                pairs = [likely | mine for likely, mine in zip(likeliest, own, strict=False)]
                found.append(SimpleNamespace(prompt_logprobs=[None, *pairs]))
            return found

    module = SimpleNamespace(LLM=LLM, SamplingParams=lambda **wanted: wanted)
    monkeypatch.setitem(sys.modules, "vllm", module)
    score = VllmScorer(place, context=20, dtype="float32")
    documents = [list(range(5, 12)), [3], [], list(range(100, 130))]
    found = score(documents)
    expected = TeacherScorer(teacher, torch.device("cpu"), context=score.context, tokens=100)(documents)
    assert [len(scores) for scores in found] == [6, 0, 0, 18]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
