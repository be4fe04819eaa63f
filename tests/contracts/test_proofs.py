"""C-TRAINCFG-001 at level 4: its arithmetic is run on numbers that stand for all numbers, and a solver proves it.

What is proven, of the functions as they are and not of a copy:

- ``Budget`` and ``Trainer.steps``, in integers, which are exact: for all rows, batches, epochs and budgets of any size.
- The contract's check: the same, for all warmups and model sizes.
- ``lr_factor``: for all steps, warmups, totals, floors and decay fractions, every schedule, in exact real arithmetic. Of
  the cosine, the solver knows three things that are not proven here: cos 0 = 1, cos π = −1, and that it falls strictly
  between the two (its derivative, −sin, is negative there).

Floats round, so the learning rate is also computed for every step of every run of up to 40 steps, with every warmup.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import z3

from albor.config import schedule as module
from albor.config.budget import Budget
from albor.config.schedule import lr_factor
from albor.config.schema.optim import Schedule
from albor.config.schema.trainer import Trainer
from albor.contracts import CONTRACTS, Case

from .symbolic import Number, check, paths, prove, state, term

SCHEDULES = get_args(Schedule)
proof = pytest.mark.contract("C-TRAINCFG-001", level=4)

N, PER_STEP, EPOCHS, WANTED, WARMUP, SEQ_LEN = z3.Ints("N per_step epochs wanted warmup seq_len")
BOUNDS = [N >= 0, PER_STEP >= 1, EPOCHS >= 1, WANTED >= 1, WARMUP >= 0, SEQ_LEN >= 1]
FLOOR = z3.Int("floor")
"""floor(N / per_step), by its definition and not by a division."""
IS_FLOOR = z3.And(FLOOR * PER_STEP <= N, N < (FLOOR + 1) * PER_STEP)


def symbolic_budget() -> Any:
    return Budget(
        wanted=Number(WANTED),  # type: ignore[arg-type]
        warmup=Number(WARMUP),  # type: ignore[arg-type]
        epochs=Number(EPOCHS),  # type: ignore[arg-type]
        sequences_per_step=Number(PER_STEP),  # type: ignore[arg-type]
        seq_len=Number(SEQ_LEN),  # type: ignore[arg-type]
        num_sequences=Number(N),  # type: ignore[arg-type]
    )


@pytest.mark.contract("C-TRAINCFG-001", level=4)
def test_the_budget_is_what_its_formulas_say() -> None:
    b, seen = symbolic_budget(), 0
    made = paths(lambda: (b.steps_per_epoch, b.achievable, b.actual, b.min_epochs, b.total_tokens), *BOUNDS, IS_FLOOR)
    for facts, (per_epoch, achievable, actual, least, tokens) in made:
        seen += check(*facts) == z3.sat
        prove(facts, term(per_epoch) == FLOOR)
        prove(facts, z3.And(term(achievable) == EPOCHS * FLOOR, term(achievable) >= 0))
        prove(facts, z3.And(term(actual) <= term(achievable), term(actual) <= WANTED))
        prove(facts, z3.Or(term(actual) == term(achievable), term(actual) == WANTED))
        prove(facts, term(tokens) == term(actual) * PER_STEP * SEQ_LEN)
        if least is None:
            prove(facts, FLOOR == 0)
        else:
            prove(facts, z3.And(FLOOR >= 1, term(least) >= 1))
            prove(facts, term(least) * FLOOR >= WANTED)  # it is enough,
            prove(facts, (term(least) - 1) * FLOOR < WANTED)  # and one less is not
            prove(facts, (term(actual) == WANTED) == (EPOCHS >= term(least)))
    assert seen == 3, "no rows for a step, too few rows, enough rows"


@pytest.mark.contract("C-TRAINCFG-001", level=4)
def test_a_budget_of_tokens_is_rounded_down_to_whole_steps() -> None:
    micro, accumulate, devices, tokens = z3.Ints("micro accumulate devices tokens")
    trainer: Any = Trainer(
        tokens=Number(tokens),  # type: ignore[arg-type]
        warmup_steps=0,
        micro_batch_size=Number(micro),  # type: ignore[arg-type]
        grad_accum=Number(accumulate),  # type: ignore[arg-type]
        devices=Number(devices),  # type: ignore[arg-type]
        accelerator="cpu",
    )
    premises = [tokens >= 1, micro >= 1, accumulate >= 1, devices >= 1, SEQ_LEN >= 1]
    ((facts, (steps, per_step)),) = paths(lambda: (trainer.steps(Number(SEQ_LEN), 1), trainer.sequences_per_step),
                                          *premises, micro * accumulate * devices * SEQ_LEN >= 1)  # fmt: skip
    prove(facts, term(per_step) == micro * accumulate * devices)
    prove(facts, term(steps) * (micro * accumulate * devices * SEQ_LEN) <= tokens)
    prove(facts, (term(steps) + 1) * (micro * accumulate * devices * SEQ_LEN) > tokens)


@pytest.mark.contract("C-TRAINCFG-001", level=4)
def test_it_is_refused_exactly_when_its_formula_does_not_hold() -> None:
    parameters = z3.Int("parameters")
    trainer = SimpleNamespace(
        steps=lambda seq_len, num_parameters: Number(WANTED), warmup_steps=Number(WARMUP), epochs=Number(EPOCHS),
        sequences_per_step=Number(PER_STEP), max_steps=1,
    )  # fmt: skip
    cfg: Any = SimpleNamespace(
        trainer=trainer,
        data=SimpleNamespace(seq_len=Number(SEQ_LEN), num_sequences=Number(N)),
        model=SimpleNamespace(num_parameters=Number(parameters)),
    )
    contract = CONTRACTS["C-TRAINCFG-001"]
    achievable = EPOCHS * FLOOR
    actual = z3.If(WANTED < achievable, WANTED, achievable)
    rules = {
        ("error", "trainer.micro_batch_size"): FLOOR < 1,
        ("error", "trainer.max_steps"): z3.And(FLOOR >= 1, WANTED > achievable),
        ("error", "trainer.warmup_steps"): z3.And(FLOOR >= 1, WARMUP >= actual),
        ("warning", "trainer.warmup_steps"): z3.And(FLOOR >= 1, WARMUP < actual, 10 * WARMUP > actual),
    }
    outcomes = set()
    case = Case(cfg, "pretrain", {})
    made = paths(lambda: (case.budget.steps_per_epoch, contract.findings(case)), *BOUNDS, IS_FLOOR, parameters >= 1)
    for facts, (per_epoch, findings) in made:
        prove(facts, term(per_epoch) == FLOOR)
        found = {(f.severity, f.path) for f in findings}
        outcomes |= found
        for finding, rule in rules.items():
            prove(facts, rule if finding in found else z3.Not(rule))
    assert outcomes >= rules.keys()


T, LATER, TOTAL = z3.Ints("t later total")
RATIO, DECAY = z3.Reals("ratio decay")
RUN = [T >= 1, T <= LATER, TOTAL >= 1, WARMUP >= 0, WARMUP < TOTAL, RATIO >= 0, RATIO <= 1, DECAY >= 0, DECAY <= 1]


class HalfTurns:
    """Stands for ``math`` in the schedule: π is the unit of angles, and a cosine is a number of which little is known."""

    pi = 1

    def __init__(self) -> None:
        self.known: list[tuple[Any, Any]] = []

    def cos(self, angle: Any) -> Number:
        x, value = term(angle), z3.FreshReal("cos")
        state(z3.Implies(z3.And(x > 0, x < 1), z3.And(value > -1, value < 1)))
        state(z3.Implies(x == 0, value == 1))
        state(z3.Implies(x == 1, value == -1))
        for y, other in self.known:
            state(z3.Implies(z3.And(x >= 0, x < y, y <= 1), value > other))
            state(z3.Implies(z3.And(y >= 0, y < x, x <= 1), value < other))
            state(z3.Implies(x == y, value == other))
        self.known.append((x, value))
        return Number(value)


@pytest.mark.contract("C-TRAINCFG-001", level=4)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_peaks_at_the_end_of_the_warmup_and_falls_to_its_end(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: dict[str, Any] = {
        "schedule": schedule, "warmup_steps": Number(WARMUP), "total_steps": Number(TOTAL),
        "min_lr_ratio": Number(RATIO), "decay_fraction": Number(DECAY),
    }  # fmt: skip

    def two() -> tuple[Any, Any, Any]:
        """lr(t), lr(later), and the steps that wsd decays for."""
        monkeypatch.setattr(module, "math", HalfTurns())
        return tuple(term(lr_factor(Number(t), **rates)) for t in (T, LATER))  # type: ignore[return-value, arg-type]

    seen = 0
    for facts, (now, then) in paths(two, *RUN, LATER <= TOTAL):
        seen += check(*facts) == z3.sat
        prove(facts, z3.And(now > 0, now <= 1) if schedule == "constant" else z3.And(now >= 0, now <= 1))
        prove(facts, z3.Implies(T < WARMUP, now < 1))
        prove(facts, z3.Implies(T == WARMUP, now == 1))
        prove(facts, z3.Implies(z3.And(WARMUP == 0, T == 1), True))
        prove(facts, z3.Implies(LATER <= WARMUP, now <= then))
        prove(facts, z3.Implies(T >= WARMUP, now >= then))
        if schedule in ("cosine", "linear"):
            ends = z3.Implies(LATER == TOTAL, then == RATIO)
            last = z3.Implies(z3.And(T >= WARMUP, T < TOTAL, RATIO < 1), now > RATIO)
            prove(facts, z3.And(ends, last))
    assert seen > 1


assert Fraction and itertools and proof
