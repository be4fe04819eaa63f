"""Contracts on teachers and students."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.schema.distill import AlborTeacher, HfTeacher, Route
from albor.config.units import human_bytes
from albor.contracts.base import RECOVERY, Case, Found, contract

OTHER_TOKENS = (
    "learn from the likelihoods of what both can read: distill=alignment; from text that the teacher writes: "
    "distill=text; or from a teacher with the student's tokenizer: teacher=albor, or inputs.teacher=RUN"
)
"""The ways out of a teacher that speaks of other tokens."""
WAYS_OUT = "from text that the teacher writes: distill=text; or from a teacher with the student's tokenizer"
"""Those that are left where no text is cut alike."""
LEARNING = ("distill", "teacher_logits", "teacher_text")
ASKED_BY: dict[Route, str] = {
    "online": "distill",
    "offline": "teacher_logits",
    "alignment": "teacher_logits",
    "text": "teacher_text",
}
"""The stage that the teacher is an input of."""


def asks(case: Case) -> bool:
    return ASKED_BY[case.cfg.distill.route] == case.stage


def teacher_size(case: Case, *, active: bool = False) -> int | None:
    """Parameters of the teacher, or those of them that one token passes through; None where nobody knows them yet."""
    facts, planned, teacher = case.inputs.get("teacher", {}), case.planned.get("teacher"), case.cfg.teacher
    if "parameters" in facts:
        return int(facts["parameters"])
    if planned is not None:
        return planned.model.num_parameters
    if isinstance(teacher, HfTeacher) and "teacher" not in case.cfg.inputs:
        return teacher.active if active else teacher.parameters
    return None


def beside(case: Case, *, active: bool = False) -> int:
    """Parameters of a teacher that computes while another model is trained."""
    online = case.stage == "distill" and case.cfg.distill.route == "online"
    return (teacher_size(case, active=active) or 0) if online or case.stage == RECOVERY else 0


def by_tokens(case: Case) -> bool:
    """Whether the teacher reads the student's own tokens and speaks of them."""
    return asks(case) and case.cfg.distill.route in ("online", "offline")


@contract(
    "C-DISTILL-001",
    "Teacher and student speak of the same tokens",
    formula="the teacher's tokenizer is the student's",
    stages=LEARNING,
    level=2,
    needs=("C-MODEL-002",),
    history="A Qwen teacher has 151,936 tokens, the student 32,768: token 5,000 of the one is not token 5,000 of the "
    "other, and a divergence between the two is a number without a meaning.",
)
def same_tokens(case: Case) -> Iterator[Found]:
    cfg = case.cfg
    if not by_tokens(case):
        return
    facts = case.inputs.get("teacher", {})
    ours = case.inputs.get("tokenizer", {}).get("tokenizer_sha256")
    theirs = facts.get("tokenizer_sha256")
    if ours and theirs and ours != theirs:
        yield "error", "inputs.teacher", "the teacher was made with another tokenizer", OTHER_TOKENS
        return
    planned = case.planned.get("teacher")
    size = facts.get("vocab_size") or facts.get("model_config", {}).get("vocab_size")
    if size is None and planned is not None:
        size = planned.model.vocab_size
    if size is None and isinstance(cfg.teacher, HfTeacher) and "teacher" not in cfg.inputs:
        size = cfg.teacher.vocab_size
    if size is not None and size != cfg.model.vocab_size:
        message = f"the teacher has {size:,} tokens, the student {cfg.model.vocab_size:,}: they are not the same ones"
        yield "error", "teacher", message, OTHER_TOKENS


@contract(
    "C-DISTILL-002",
    "The teacher's licence permits what is made of it",
    formula="a licence that forbids commercial use is said before anything is learned",
    stages=LEARNING,
)
def licence(case: Case) -> Iterator[Found]:
    teacher = case.cfg.teacher
    if asks(case) and isinstance(teacher, HfTeacher) and not teacher.commercial and "teacher" not in case.cfg.inputs:
        message = (
            f"the licence of {teacher.repo} ({teacher.licence}) is for research, and so is what is learned from it"
        )
        fix = "mind it when you publish the model, or choose another: teacher=qwen3_5_35b_a3b is Apache-2.0"
        yield "warning", "teacher.licence", message, fix


@contract(
    "C-DISTILL-003",
    "A teacher knows more than its student",
    formula="parameters of the teacher > parameters of the student",
    stages=("distill",),
)
def larger(case: Case) -> Iterator[Found]:
    size = teacher_size(case)
    if size is not None and size <= case.cfg.model.num_parameters:
        message = f"the teacher has {size:,} parameters, its student {case.cfg.model.num_parameters:,}"
        named = "teacher.model=350m" if isinstance(case.cfg.teacher, AlborTeacher) else "teacher=…"
        yield "warning", "teacher", message, f"a larger one: {named}"


@contract(
    "C-DISTILL-004",
    "A sequence fits the teacher's context",
    formula="data.seq_len ≤ the teacher's context",
    stages=LEARNING,
    needs=("C-MODEL-003",),
)
def context(case: Case) -> Iterator[Found]:
    if not by_tokens(case):  # else it is asked of single documents, and what is beyond its context is left out
        return
    planned = case.planned.get("teacher")
    facts = case.inputs.get("teacher", {}).get("model_config", {})
    most = facts.get("max_position_embeddings")
    if most is None and planned is not None:
        most = planned.model.max_position_embeddings
    if most is None and isinstance(case.cfg.teacher, HfTeacher) and "teacher" not in case.cfg.inputs:
        most = case.cfg.teacher.context
    if most is not None and case.cfg.data.seq_len > most:
        message = f"sequences of {case.cfg.data.seq_len:,} tokens are longer than the teacher's context of {most:,}"
        yield "error", "data.seq_len", message, f"data.seq_len={most}, or another teacher"


@contract(
    "C-DISTILL-005",
    "Stored probabilities are those of the rows that are trained on",
    formula="the logits' rows, sequence length, temperature and kind are the run's",
    stages=("distill",),
    needs=("C-DISTILL-001",),
    history="Row 7 of another packing is another text: a student would learn what the teacher said of something else.",
)
def of_these_rows(case: Case) -> Iterator[Found]:
    facts, cfg = case.inputs.get("logits", {}), case.cfg
    again = "make them again: stage=teacher_logits, or leave inputs.logits out and they are made"
    rows = case.inputs.get("rows", {}).get("artifact")
    if facts.get("rows") and rows and facts["rows"] != rows:
        message = f"the logits are those of other rows ({facts['rows'][:12]}, not {rows[:12]})"
        yield "error", "inputs.logits", message, again
    if facts.get("seq_len") and facts["seq_len"] < cfg.data.seq_len:
        message = f"the logits reach {facts['seq_len']:,} tokens into a row, the student reads {cfg.data.seq_len:,}"
        yield "error", "data.seq_len", message, f"data.seq_len={facts['seq_len']}; or {again}"
    for key, ours in (("temperature", cfg.distill.softened), ("keep", cfg.distill.kept)):
        theirs = facts.get(key)
        if theirs is not None and theirs != ours:
            message = f"the logits were stored with {key} {theirs}, the student takes {ours}"
            yield "error", f"distill.{key}", message, f"distill.{key}={theirs}; or {again}"


@contract(
    "C-DISTILL-006",
    "What is stored divides as the teacher's does",
    formula="a student of what was stored minimises forward KL: nothing else can be computed from a part of a "
    "distribution, and likelihoods of chunks have one divergence",
    stages=("distill",),
)
def offline_divergence(case: Case) -> Iterator[Found]:
    wanted = case.cfg.distill
    if wanted.route in ("offline", "alignment") and wanted.divergence != "forward_kl":
        message = f"{wanted.divergence} needs the teacher's whole distribution, and a part of it is stored"
        yield "error", "distill.divergence", message, "distill.divergence=forward_kl, or distill.route=online"


@contract(
    "C-DISTILL-007",
    "Stored probabilities fit onto the disk",
    formula="rows · seq_len · bytes a token ≤ hardware.disk",
    stages=("teacher_logits",),
)
def fits(case: Case) -> Iterator[Found]:
    cfg, rows = case.cfg, case.num_sequences
    if rows is None:
        return
    each = cfg.distill.bytes_per_token(cfg.model.vocab_size)
    need, have = rows * cfg.data.seq_len * each, cfg.hardware.disk
    if need > have:
        message = f"{human_bytes(need)} are needed ({each:,} bytes a token), the disk has {human_bytes(have)}"
        less = "" if cfg.distill.kept == "chunks" else "distill=sampled stores a thirtieth; or "
        yield "error", "distill.keep", message, f"{less}a larger disk: hardware.disk=…"


@contract(
    "C-DISTILL-008",
    "vLLM computes likelihoods",
    formula="teacher.backend=vllm is asked for the likelihoods of given text, not for distributions or new text",
    stages=LEARNING,
)
def by_vllm(case: Case) -> Iterator[Found]:
    teacher, route = case.cfg.teacher, case.cfg.distill.route
    computed = isinstance(teacher, HfTeacher) and teacher.backend == "vllm"
    if computed and asks(case) and route != "alignment":
        message = f"vLLM computes the teacher's likelihoods, and distill.route={route} needs something else"
        yield "error", "teacher.backend", message, "teacher.backend=transformers, or distill=alignment"
