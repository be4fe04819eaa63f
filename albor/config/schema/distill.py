"""Teachers, and how a student learns from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.types import Count, Fraction, Positive, PositiveFloat, PositiveFraction, Text

Divergence = Literal["forward_kl", "reverse_kl", "jensen_shannon"]
Keep = Literal["top_k", "sampled"]
Kept = Literal["top_k", "sampled", "chunks"]
"""What is stored of a teacher: distributions, or the likelihoods of chunks of text."""
Route = Literal["online", "offline", "alignment", "text"]


@dataclass(frozen=True, kw_only=True)
class AlborTeacher:
    """A model of albor's own: pretrained on the student's rows, unless inputs.teacher names one that is there."""

    kind: Literal["albor"] = "albor"
    """The teacher's kind."""
    model: Text = "small"
    """The choice of the model group that it is."""


@dataclass(frozen=True, kw_only=True)
class HfTeacher:
    """A causal language model, dense or MoE, that transformers computes; its own code is never run."""

    kind: Literal["hf"] = "hf"
    """The teacher's kind."""
    repo: Text
    """Where it is: org/name on the Hugging Face Hub, or a directory."""
    revision: Text = "main"
    """Branch, tag or commit on the Hub."""
    vocab_size: Positive
    """Rows of its embedding."""
    parameters: Count
    """All of its parameters."""
    active_parameters: Count | None = None
    """Those that one token passes through, of a mixture of experts; null means all."""
    context: Positive
    """The longest sequence it takes."""
    licence: Text | None = None
    """What its weights are licensed under."""
    commercial: bool = True
    """Whether that licence permits commercial use of what is learned from it."""
    backend: Literal["transformers", "vllm"] = "transformers"
    """What computes it; vllm is faster where it is installed, and computes the likelihoods of alignment."""

    @property
    def active(self) -> int:
        return self.active_parameters or self.parameters


Teacher = AlborTeacher | HfTeacher


@dataclass(frozen=True, kw_only=True)
class Distill:
    """L = α·T²·D(teacher, student) + (1−α)·CE, both distributions softened by T (Hinton et al., 2015).

    A teacher with another tokenizer has other distributions. What both can say is how likely a chunk of text is
    (alignment: α·τ·D of its two probabilities, each to the power 1/τ; arXiv 2503.20083), or text itself.
    """

    route: Route = "online"
    """online: the teacher computes beside the student; offline: its probabilities are stored first; alignment: its
    likelihoods of chunks of text are; text: it writes part of what is trained on."""
    divergence: Divergence = "forward_kl"
    """What is minimised: KL(teacher ‖ student), KL(student ‖ teacher), or Jensen and Shannon's mean of both."""
    temperature: PositiveFloat = 4.0
    """T: above 1 it flattens both distributions, so that the unlikely tokens count."""
    tau: PositiveFloat = 100.0
    """τ of alignment: probabilities of chunks are softened to p^(1/τ), so that unlikely chunks count."""
    alpha: Fraction = 0.5
    """α: the teacher's share; 0 is plain training."""
    keep: Keep = "top_k"
    """What is stored of a distribution offline: its likeliest tokens and the rest as one, or tokens drawn from it."""
    top_k: Positive = 128
    """Tokens stored of each position by top_k."""
    samples: Positive = 12
    """Tokens drawn at each position by sampled."""
    text_share: PositiveFraction = 0.1
    """Share of the training tokens that the teacher wrote, by text; the others are the corpus's. A student that reads
    nothing else forgets its language."""

    @property
    def kept(self) -> Kept:
        """What is stored by the route."""
        return "chunks" if self.route == "alignment" else self.keep

    @property
    def softened(self) -> float:
        """The temperature of what is stored: likelihoods are softened when they are read."""
        return 1.0 if self.route == "alignment" else self.temperature

    def bytes_per_token(self, vocab_size: int) -> int:
        """Of what is stored: ids as wide as the vocabulary asks, float32 log-probabilities of the likeliest or of a
        chunk."""
        ids = 2 if vocab_size <= 1 << 16 else 4
        return {"sampled": self.samples * ids, "top_k": self.top_k * (ids + 4), "chunks": 4}[self.kept]
