"""What a model is measured by: one task per benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval, MinLen

from albor.config.types import Bytes, Count, NonNegativeFloat, Positive, Seconds, Text


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Cross-entropy of held-out rows: perplexity, bits per byte."""

    kind: Literal["perplexity"] = "perplexity"
    """The task's kind."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Completions to read, scored by nobody."""

    kind: Literal["samples"] = "samples"
    """The task's kind."""


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """Files of a data set on the Hugging Face Hub."""

    repo: Text
    """The data set, org/name."""
    files: Annotated[tuple[Text, ...], MinLen(1)]
    """The files in it, JSON, JSONL or Parquet; read one after the other."""
    revision: Text = "main"
    """Branch, tag or commit."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Problems of a file, and how completions are drawn."""

    file: Text | None = None
    """The file: below evals.data_dir, or a path of your own (relative to the working directory)."""
    sha256: Text | None = None
    """What the file's SHA-256 must be; null accepts any."""
    hub: HubFiles | None = None
    """Where it is fetched from when evals.data_dir is null."""
    source: Text | None = None
    """Where people find it."""
    samples: Count = 1
    """Completions per problem."""
    temperature: NonNegativeFloat = 0.2
    """Sampling temperature; 0 takes the likeliest token."""
    top_p: Annotated[float, Interval(gt=0, le=1)] = 0.95
    """Sample from the smallest set of tokens that holds this share of the probability."""
    max_length: Count | None = 512
    """Most tokens of prompt and completion together; null sets no such limit."""
    max_new_tokens: Count | None = None
    """Most tokens of the completion; null sets no such limit."""
    stop: tuple[Text, ...] = ()
    """Strings that end a completion, which is cut before the first of them."""
    pass_at: tuple[Count, ...] = (1, 10, 100)
    """Numbers k of pass@k; those above the samples are left out."""


@dataclass(frozen=True, kw_only=True)
class Executed(Benchmark):
    """Problems whose completions are run."""

    seconds: Seconds = 3.0
    """Processor time that one program may take, its tests included; it may last three times as long."""
    memory: Bytes = 1 << 30
    """Memory that one program may take."""
    processes: Positive = 16
    """Processes and threads that one program may have."""


@dataclass(frozen=True, kw_only=True)
class HumanEval(Executed):
    """Functions to complete, in HumanEval's format: task_id, prompt, canonical_solution, entry_point, test.

    With a suffix the completion is what lies between."""

    kind: Literal["humaneval"] = "humaneval"
    """The task's kind."""
    fim: Literal["psm", "spm"] = "psm"
    """Order of the parts of an infilling prompt."""


@dataclass(frozen=True, kw_only=True)
class EvalPlus(Executed):
    """HumanEval or MBPP with the inputs of EvalPlus: what the reference returns must be returned."""

    kind: Literal["evalplus"] = "evalplus"
    """The task's kind."""
    base_only: bool = False
    """Use the original inputs alone."""


@dataclass(frozen=True, kw_only=True)
class Mbpp(Executed):
    """Mostly basic Python problems (Austin et al., 2021)."""

    kind: Literal["mbpp"] = "mbpp"
    """The task's kind."""
    style: Literal["few_shot", "docstring"] = "few_shot"
    """few_shot shows tasks 2, 3 and 4 first, as the paper does; docstring is BigCode's zero-shot form."""
    ids: tuple[Positive, Positive] | None = (11, 510)
    """First and last task; the test split is 11 to 510. null takes all."""


@dataclass(frozen=True, kw_only=True)
class Ds1000(Executed):
    """Data science problems on real libraries (Lai et al., 2022), completion form."""

    kind: Literal["ds1000"] = "ds1000"
    """The task's kind."""
    libraries: tuple[Literal["Pandas", "Numpy", "Matplotlib", "Sklearn", "Scipy", "Pytorch", "Tensorflow"], ...] = ()
    """Only problems of these libraries; none means all."""


@dataclass(frozen=True, kw_only=True)
class MultiPLE(Executed):
    """HumanEval translated to another language by MultiPL-E (Cassano et al., 2022)."""

    kind: Literal["multipl_e"] = "multipl_e"
    """The task's kind."""
    language: Literal["py", "js", "cpp"] = "py"
    """The language; js needs node, cpp needs g++."""


@dataclass(frozen=True, kw_only=True)
class SantaCoderFim(Benchmark):
    """One line of a HumanEval body is left out; an exact match after strip() counts (Ben Allal et al., 2023)."""

    kind: Literal["santacoder_fim"] = "santacoder_fim"
    """The task's kind."""
    fim: Literal["psm", "spm"] = "psm"
    """Order of the parts of the prompt."""


@dataclass(frozen=True, kw_only=True)
class FimExact(Benchmark):
    """Holes in functions of held-out documents: one line, several lines, a random span; an exact match counts."""

    kind: Literal["fim_exact"] = "fim_exact"
    """The task's kind."""
    functions: Count = 200
    """Functions taken, each with one hole of every sort."""
    around: Count = 2_000
    """Characters of the document that are shown on either side of a hole."""
    fim: Literal["psm", "spm"] = "psm"
    """Order of the parts of the prompt."""


@dataclass(frozen=True, kw_only=True)
class LmEval:
    """A multiple-choice or cloze task through EleutherAI's lm-evaluation-harness."""

    kind: Literal["lm_eval"] = "lm_eval"
    """The task's kind."""
    task: Literal["arc_easy", "hellaswag", "piqa", "lambada"]
    """Which."""
    file: Text | None = None
    """The file: below evals.data_dir, or a path of your own."""
    sha256: Text | None = None
    """What the file's SHA-256 must be; null accepts any."""
    hub: HubFiles | None = None
    """Where it is fetched from when evals.data_dir is null."""
    source: Text | None = None
    """Where people find it."""


Generated = HumanEval | EvalPlus | Mbpp | Ds1000 | MultiPLE | SantaCoderFim | FimExact
Task = Perplexity | Samples | Generated | LmEval
