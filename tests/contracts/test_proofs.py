"""C-TRAINCFG-001 at level 4: its arithmetic is run on numbers that stand for all numbers, and a solver proves it.

What is proven, of the functions as they are and not of a copy:

- ``Budget`` and ``Trainer.steps``, in integers, which are exact: for all rows, batches, epochs and budgets of any size
  (of ``tokens_per_param``, a float, only what follows from the steps that it comes to).
- The contract's check: the same, for all warmups and model sizes, and where the rows are not known yet.
- ``lr_factor``: for all steps, warmups, totals, floors and decay fractions, every schedule, in exact real arithmetic.
  Of the cosine, the solver knows three things that are not proven here: cos 0 = 1, cos π = −1, and that it falls
  strictly between the two (its derivative, −sin, is negative there).

Floats round, so the learning rate is also computed for every step of every run of up to 40 steps with every warmup,
and for every step of the original's runs. That training asks for these rates, step by step, is not proven: it is seen
in tests/training/test_pretrain.py.
"""

from __future__ import annotations

import itertools
import math
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

from .symbolic import check, number, paths, prove, state, term

SCHEDULES = get_args(Schedule)
rows, per_step, epochs, wanted, warmup, seq_len = z3.Ints("rows per_step epochs wanted warmup seq_len")
bounds = [rows >= 0, per_step >= 1, epochs >= 1, wanted >= 1, warmup >= 0, seq_len >= 1]
floor = z3.Int("floor")
"""floor(N / per_step), by its definition and not by a division."""
is_floor = z3.And(floor * per_step <= rows, rows < (floor + 1) * per_step)


@pytest.mark.contract("C-TRAINCFG-001", level=4)
def test_the_budget_is_what_its_formulas_say() -> None:
    b = Budget(
        wanted=number(wanted), warmup=number(warmup), epochs=number(epochs), sequences_per_step=number(per_step),
        seq_len=number(seq_len), num_sequences=number(rows),
    )  # fmt: skip
    seen = 0
    made = paths(lambda: (b.steps_per_epoch, b.achievable, b.actual, b.min_epochs, b.total_tokens), *bounds, is_floor)
    for facts, (per_epoch, achievable, actual, least, tokens) in made:
        seen += check(*facts) == z3.sat
        prove(facts, term(per_epoch) == floor)
        prove(facts, z3.And(term(achievable) == epochs * floor, term(achievable) >= 0))
        prove(facts, z3.And(term(actual) <= term(achievable), term(actual) <= wanted))
        prove(facts, z3.Or(term(actual) == term(achievable), term(actual) == wanted))
        prove(facts, term(tokens) == term(actual) * per_step * seq_len)
        if least is None:
            prove(facts, floor == 0)
        else:
            prove(facts, z3.And(floor >= 1, term(least) >= 1))
            prove(facts, term(least) * floor >= wanted)  # it is enough,
            prove(facts, (term(least) - 1) * floor < wanted)  # and one less is not
            prove(facts, (term(actual) == wanted) == (epochs >= term(least)))
    assert seen == 3, "no rows for a step, too few rows, enough rows"


@pytest.mark.contract("C-TRAINCFG-001", level=4)
def test_a_budget_of_tokens_is_rounded_down_to_whole_steps() -> None:
    micro, accumulate, devices, tokens = z3.Ints("micro accumulate devices tokens")
    trainer: Any = Trainer(
        tokens=number(tokens),
        warmup_steps=0,
        micro_batch_size=number(micro),
        grad_accum=number(accumulate),
        devices=number(devices),
        accelerator="cpu",
    )
    premises = [tokens >= 1, micro >= 1, accumulate >= 1, devices >= 1, seq_len >= 1]
    ((facts, (steps, per_step)),) = paths(lambda: (trainer.steps(number(seq_len), 1), trainer.sequences_per_step),
                                          *premises, micro * accumulate * devices * seq_len >= 1)  # fmt: skip
    assert check(*facts) == z3.sat, "of what cannot be, everything is proven"
    prove(facts, term(per_step) == micro * accumulate * devices)
    prove(facts, term(steps) * (micro * accumulate * devices * seq_len) <= tokens)
    prove(facts, (term(steps) + 1) * (micro * accumulate * devices * seq_len) > tokens)


@pytest.mark.contract("C-TRAINCFG-001", level=4)
@pytest.mark.parametrize(
    "known",
    [pytest.param(True, id="rows known", marks=pytest.mark.slow), pytest.param(False, id="rows unknown")],
)
def test_it_is_refused_exactly_when_its_formula_does_not_hold(known: bool) -> None:
    parameters = z3.Int("parameters")
    trainer = SimpleNamespace(
        steps=lambda seq_len, num_parameters: number(wanted), warmup_steps=number(warmup), epochs=number(epochs),
        sequences_per_step=number(per_step), max_steps=1,
    )  # fmt: skip
    cfg: Any = SimpleNamespace(
        trainer=trainer,
        data=SimpleNamespace(seq_len=number(seq_len), num_sequences=number(rows) if known else None),
        model=SimpleNamespace(num_parameters=number(parameters)),
    )
    contract = CONTRACTS["C-TRAINCFG-001"]
    achievable = epochs * floor
    actual = z3.If(wanted < achievable, wanted, achievable) if known else wanted
    full = floor >= 1 if known else z3.BoolVal(True)
    rules = {
        ("error", "trainer.micro_batch_size"): z3.Not(full),
        ("error", "trainer.max_steps"): z3.And(full, known, wanted > achievable),
        ("error", "trainer.warmup_steps"): z3.And(full, warmup >= actual),
        ("warning", "trainer.warmup_steps"): z3.And(full, warmup < actual, 10 * warmup > actual),
    }
    outcomes = set()
    case = Case(cfg, "pretrain", {})
    made = paths(lambda: (case.budget.steps_per_epoch, contract.findings(case)), *bounds, is_floor, parameters >= 1)
    for facts, (per_epoch, findings) in made:
        if known:
            prove(facts, term(per_epoch) == floor)
        found = {(f.severity, f.path) for f in findings}
        outcomes |= found
        for finding, rule in rules.items():
            prove(facts, rule if finding in found else z3.Not(rule))
    assert outcomes >= rules.keys() if known else len(outcomes & rules.keys()) == 2


t, later, total = z3.Ints("t later total")
ratio, decay = z3.Reals("ratio decay")
within = [t >= 1, t <= later, total >= 1, warmup >= 0, warmup < total, ratio >= 0, ratio <= 1, decay >= 0, decay <= 1]


class HalfTurns:
    """Stands for ``math`` in the schedule: angles are in units of π, and of a cosine the lemma is known."""

    pi = 1

    def __init__(self) -> None:
        self.known: list[tuple[Any, Any]] = []

    def cos(self, angle: Any) -> Any:
        x, value = term(angle), z3.FreshReal("cos")
        state(z3.Implies(z3.And(x > 0, x < 1), z3.And(value > -1, value < 1)))
        state(z3.Implies(x == 0, value == 1))
        state(z3.Implies(x == 1, value == -1))
        for y, other in self.known:
            state(z3.Implies(z3.And(x >= 0, x < y, y <= 1), value > other))
            state(z3.Implies(z3.And(y >= 0, y < x, x <= 1), value < other))
            state(z3.Implies(x == y, value == other))
        self.known.append((x, value))
        return number(value)


@pytest.mark.contract("C-TRAINCFG-001", level=4)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_peaks_at_the_end_of_the_warmup_and_falls_to_its_end(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: dict[str, Any] = {
        "schedule": schedule, "warmup_steps": number(warmup), "total_steps": number(total),
        "min_lr_ratio": number(ratio), "decay_fraction": number(decay),
    }  # fmt: skip

    def run() -> tuple[Any, Any, Any]:
        """lr(t), lr(later), and the steps that wsd decays for."""
        monkeypatch.setattr(module, "math", HalfTurns())
        now, then = (term(lr_factor(number(t), **rates)) for t in (t, later))
        return now, then, term(round(number(decay) * number(total)))

    seen = 0
    for facts, (now, then, tail) in paths(run, *within, later <= total):
        seen += check(*facts) == z3.sat
        prove(facts, z3.And(now >= 0, now <= 1, then >= 0, then <= 1))
        prove(facts, z3.Implies(t <= warmup, now * warmup == t))
        prove(facts, z3.Implies(t < warmup, now < 1))
        prove(facts, z3.Implies(t == warmup, now == 1))
        prove(facts, z3.Implies(z3.And(t < later, later <= warmup), now < then))
        prove(facts, z3.Implies(t >= warmup, now >= then))
        decays = {"constant": z3.BoolVal(False), "wsd": tail >= 1}.get(schedule, z3.BoolVal(True))
        prove(facts, z3.Implies(z3.And(decays, later == total), then == ratio))
        prove(facts, z3.Implies(z3.And(t >= warmup, t < total, ratio < 1), now > ratio))  # and not before
        prove(facts, z3.Implies(z3.And(z3.Not(decays), t >= warmup), now == 1))
        if schedule == "wsd":
            prove(facts, z3.Implies(z3.And(t >= warmup, t <= total - tail), now == 1))
    assert seen > 1


def rates(schedule: Schedule, warmup: int, total: int, ratio: float = 0.1, decay: float = 0.2) -> list[float]:
    return [
        lr_factor(step, schedule=schedule, warmup_steps=warmup, total_steps=total, min_lr_ratio=ratio,
                  decay_fraction=decay)
        for step in range(1, total + 1)
    ]  # fmt: skip


def assert_sound(found: list[float], warmup: int) -> None:
    """To the bit: rounding moves neither the peak, nor the order of any two rates."""
    rising, falling = found[:warmup], found[max(warmup, 1) - 1 :]
    assert all(0 <= rate <= 1 for rate in found)
    assert all(a < b for a, b in itertools.pairwise(rising))
    assert all(a >= b for a, b in itertools.pairwise(falling))
    if warmup:
        assert falling[0] == 1.0


@pytest.mark.contract("C-TRAINCFG-001", level=4)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_floats_keep_it_in_every_short_run(schedule: Schedule) -> None:
    for total in range(1, 41):
        for warmup, ratio in itertools.product(range(total), (0.0, 0.1, 0.3, 1.0)):
            for decay in (0.0, 0.1, 0.2, 0.5, 1.0) if schedule == "wsd" else (0.2,):
                found = rates(schedule, warmup, total, ratio, decay)
                assert_sound(found, warmup)
                first = max(warmup, total - round(decay * total)) if schedule == "wsd" else warmup
                if schedule != "constant" and first < total:
                    assert found[-1] == pytest.approx(ratio, abs=1e-15)
                    middle = (first + total) // 2
                    share = (middle - first) / (total - first)
                    fall = math.cos(math.pi * share / 2) ** 2 if schedule == "cosine" else 1 - share
                    assert found[middle - 1] == pytest.approx(ratio + (1 - ratio) * fall, abs=1e-14) or not middle


@pytest.mark.contract("C-TRAINCFG-001", level=4)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("warmup", "total"), [(500, 5_000), (375, 7_500), (2_000, 250_000)])
def test_floats_keep_it_in_the_originals_runs(schedule: Schedule, warmup: int, total: int) -> None:
    assert_sound(rates(schedule, warmup, total), warmup)
