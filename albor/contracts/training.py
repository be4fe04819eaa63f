"""Contracts on the length, batch and schedule of training."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.schema.trainer import BUDGETS
from albor.config.units import human_count
from albor.contracts.base import TRAINING, Case, Found, contract

MIN_TOKENS_PER_STEP = 65_536
LARGE_MODEL = 100_000_000


BY_EPOCHS = ("finetune",)
"""Stages that may be told nothing but epochs."""


def given_budgets(case: Case) -> list[str]:
    return [key for key in BUDGETS if getattr(case.cfg.trainer, key) is not None]


@contract(
    "C-TRAINCFG-001",
    "The data last for the steps, and the warmup fits into them",
    formula="steps_per_epoch = floor(N / (micro_batch · grad_accum · world_size)) ≥ 1; max_steps ≤ epochs · "
    "steps_per_epoch; warmup < actual = min(max_steps, achievable); warmup/actual ≤ 0.10 and tokens ≥ 10·P are "
    "advised. lr(warmup) is the peak, lr never rises after it, and its decay ends at actual",
    history="The original's first 350m run asked for 5,000 steps of 524,288 tokens with one epoch over 22,079 rows. "
    "The data ended at step 43, inside a warmup of 2,000: the learning rate had reached 6.45e-6 of 3e-4.",
    stages=TRAINING,
    level=4,
    needs=("C-TRAINCFG-005", "C-DATA-001", "C-MODEL-001"),
)
def step_budget(case: Case) -> Iterator[Found]:
    b = case.budget
    n, per_step = b.num_sequences, b.sequences_per_step
    if n is not None and not b.steps_per_epoch:
        message = f"{n:,} rows do not fill one step of {per_step:,} sequences"
        yield "error", "trainer.micro_batch_size", message, "lower trainer.micro_batch_size or trainer.grad_accum"
        return
    if b.wanted < 1:
        return  # C-TRAINCFG-005 says why, or the epochs are those of rows that are not known
    if b.achievable is not None and b.wanted > b.achievable:
        message = (
            f"the data give {b.achievable:,} of {b.wanted:,} steps: {n:,} rows ÷ {per_step:,} sequences a step = "
            f"{b.steps_per_epoch:,} steps an epoch, epochs={b.epochs:,}"
        )
        fix = f"{b.min_epochs:,} epochs are needed: trainer.epochs={b.min_epochs}; or trainer.max_steps={b.achievable}"
        yield "error", "trainer.max_steps", message, fix
    if b.warmup >= b.actual:
        message = f"a warmup of {b.warmup:,} steps does not end within the {b.actual:,} steps that run"
        yield "error", "trainer.warmup_steps", message, f"trainer.warmup_steps={b.actual // 10}"
    elif 10 * b.warmup > b.actual:
        message = f"the warmup takes {b.warmup / b.actual:.0%} of the {b.actual:,} steps that run; 10% are plenty"
        yield "warning", "trainer.warmup_steps", message, f"trainer.warmup_steps={b.actual // 10}"
    parameters = case.cfg.model.num_parameters
    if case.stage == "pretrain" and b.total_tokens < 10 * parameters:
        message = (
            f"{human_count(b.total_tokens)} tokens are {b.total_tokens / parameters:.2g} per parameter; below 10 the "
            f"model is undertrained (Chinchilla: 20)"
        )
        given = next((k for k in BUDGETS if getattr(case.cfg.trainer, k) is not None), "max_steps")
        yield "warning", f"trainer.{given}", message, "trainer.tokens_per_param=20, with the data for it"


@contract(
    "C-TRAINCFG-002",
    "The learning rate decays after its warmup",
    formula="optim.schedule ≠ constant",
    history="The original's third run held the peak rate after warmup and stayed at a validation perplexity of about "
    "1,000, the level of token frequencies.",
    stages=TRAINING,
    needs=("C-TRAINCFG-001",),
)
def decay(case: Case) -> Iterator[Found]:
    if case.cfg.optim.schedule == "constant":
        message = "the learning rate never decays; the original's constant run plateaued at a perplexity of 1,000"
        yield "warning", "optim.schedule", message, "optim.schedule=cosine"


@contract(
    "C-TRAINCFG-003",
    "The batch is large enough for the model",
    formula="P ≥ 100M ⇒ micro_batch · grad_accum · world_size · seq_len ≥ 65,536",
    history="The original's third run used 4,096 tokens a step for 350m, 48 to 128 times too few: 28,000 steps "
    "of noise.",
    stages=TRAINING,
    needs=("C-MODEL-001", "C-KERNEL-009"),
)
def batch_size(case: Case) -> Iterator[Found]:
    b, trainer = case.budget, case.cfg.trainer
    if case.cfg.model.num_parameters >= LARGE_MODEL and b.tokens_per_step < MIN_TOKENS_PER_STEP:
        message = f"{b.tokens_per_step:,} tokens a step are too few for a model of 100M parameters or more"
        accumulate = -(-MIN_TOKENS_PER_STEP * trainer.grad_accum // b.tokens_per_step)
        yield "error", "trainer.grad_accum", message, f"trainer.grad_accum={accumulate}; or allow=[C-TRAINCFG-003]"


@contract(
    "C-TRAINCFG-004",
    "A checkpoint is written before the run ends",
    formula="save_every ≤ actual steps",
    history="A mis-keyed save_interval was once silently ignored and a run ended without a checkpoint. The last step "
    "is always saved; this is about what a crash costs.",
    stages=TRAINING,
    needs=("C-TRAINCFG-001",),
)
def save_interval(case: Case) -> Iterator[Found]:
    actual, every = case.budget.actual, case.cfg.trainer.save_every
    if 0 < actual < every:
        message = f"the first checkpoint is due at step {every:,}, but {actual:,} steps run: a crash loses everything"
        yield "warning", "trainer.save_every", message, f"trainer.save_every={max(1, actual // 4)}"


@contract(
    "C-TRAINCFG-006",
    "The best checkpoints are among those that are saved",
    formula="keep_best > 0 ⇒ save_every divides val_every, or val_every divides save_every",
    stages=TRAINING,
    needs=("C-TRAINCFG-004", "C-DATA-011"),
)
def scored_and_saved(case: Case) -> Iterator[Found]:
    trainer = case.cfg.trainer
    save, val = trainer.save_every, trainer.val_every
    if trainer.keep_best and save % val and val % save:
        message = f"keep_best knows only steps that are both validated (every {val:,}) and saved (every {save:,})"
        yield "warning", "trainer.keep_best", message, f"trainer.save_every={val}"


@contract(
    "C-TRAINCFG-005",
    "One budget says how long training runs",
    formula="exactly one of max_steps, tokens, tokens_per_param; it makes at least one step. A finetune may have none: "
    "it takes its epochs",
    stages=TRAINING,
)
def one_budget(case: Case) -> Iterator[Found]:
    given = given_budgets(case)
    if not given and case.stage in BY_EPOCHS:
        return
    if len(given) != 1:
        message = f"{' and '.join(given)} are both given" if given else "nothing says how long to train"
        fix = f"keep one: trainer.{given[1]}=null" if given else "trainer.max_steps=N, trainer.tokens=1B or so"
        yield "error", "trainer", message, fix
    elif case.budget.wanted < 1:
        message = f"trainer.{given[0]} is less than one step of {case.budget.tokens_per_step:,} tokens"
        yield "error", f"trainer.{given[0]}", message, "raise it, or lower the batch"
