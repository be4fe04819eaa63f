"""What a model is taught after pretraining: from which examples, by which objective, and which weights may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from albor.config.types import Count, Fraction, Positive, PositiveFloat, PositiveFraction, Text

Matrix = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""The matrices of a block. Embedding and head are one tensor (tied), so neither is adapted."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al., 2021): W + alpha/r · B·A, where only A [r, in] and B [out, r] are trained."""

    kind: Literal["lora"] = "lora"
    """The kind of training."""
    r: Positive = 16
    """Rank of an adapter."""
    alpha: PositiveFloat = 32.0
    """What an adapter adds is scaled by alpha/r."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.05
    """Share of an adapter's input that is zeroed while training."""
    targets: tuple[Matrix, ...] = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """The matrices of every block that get an adapter."""
    dora: bool = False
    """Also train the length of each row of W + alpha/r · B·A (DoRA: Liu et al., 2024)."""


@dataclass(frozen=True, kw_only=True)
class FullFinetune:
    """All weights are trained."""

    kind: Literal["full"] = "full"
    """The kind of training."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Examples of which some are kept for validation."""

    val_fraction: Fraction = 0.05
    """Share of the prompts that is held out for validation, with all their answers."""


@dataclass(frozen=True, kw_only=True)
class CorpusInstructions:
    """Functions of the corpus that say what they do: a docstring is the instruction, its function the answer.

    Only functions that need nothing but the standard library, and that pass their own doctests. Those of the packages
    that the corpus holds out are for validation.
    """

    kind: Literal["corpus"] = "corpus"
    """The kind of examples."""
    max_examples: Count | None = None
    """Take at most so many, in the corpus's order; null takes all."""
    doctests_only: bool = False
    """Take only functions whose docstring has tests."""


@dataclass(frozen=True, kw_only=True)
class JsonlInstructions(HeldOut):
    """JSON lines: {"messages": [...]}, {"prompt", "completion"}, or {"instruction", "input", "output"}."""

    kind: Literal["jsonl"] = "jsonl"
    """The kind of examples."""
    path: Text
    """A file, or a directory of *.jsonl."""
    skip_malformed: bool = False
    """Leave malformed lines out and count them; false refuses the file at the first one."""


Instructions = CorpusInstructions | JsonlInstructions
Finetune = Lora | FullFinetune


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Supervised: cross-entropy of the answers alone."""

    kind: Literal["sft"] = "sft"
    """The objective's kind."""


@dataclass(frozen=True, kw_only=True)
class Dpo:
    """Direct preference optimisation (Rafailov et al., 2023) on pairs of answers: one passed, the other did not."""

    kind: Literal["dpo"] = "dpo"
    """The objective's kind."""
    beta: PositiveFloat = 0.1
    """How much the model is held to the one it starts from: more allows less change."""


Objective = Sft | Dpo


@dataclass(frozen=True, kw_only=True)
class Preferences(HeldOut):
    """Pairs of answers, one that passed its tests and one that did not, by the model that is to learn from them.

    The problems are functions of the corpus whose docstring has tests. No benchmark is among them.
    """

    samples: Positive = 8
    """Answers drawn for each problem."""
    temperature: PositiveFloat = 0.8
    """Of the draws: a higher one makes answers that differ more."""
    top_p: PositiveFraction = 0.95
    """Draw from the likeliest tokens that reach this sum of probabilities."""
    max_new_tokens: Positive = 512
    """Tokens of an answer; it ends earlier where half a row of data.seq_len has no more room."""
    max_problems: Positive | None = None
    """Take at most so many problems, in the corpus's order; null takes all."""
    pairs_per_problem: Positive = 8
    """At most so many pairs of one problem."""
    reference: bool = True
    """Where no answer of the model passes, prefer the corpus's own function; false leaves such problems out."""
