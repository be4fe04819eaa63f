"""The learning rate at every step, the steps there are, and what a decoder's shape comes to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from albor.config.budget import Budget, budget
from albor.config.schedule import lr_factor
from albor.config.schema.model import Model
from albor.config.schema.optim import Schedule
from albor.config.schema.trainer import Trainer

TRAINER = Trainer(
    warmup_steps=3, micro_batch_size=2, grad_accum=5, accelerator="cpu", devices=7, nodes=11, epochs=13, max_steps=100
)
MODEL = Model(
    name="m",
    hidden_size=6,
    num_hidden_layers=5,
    num_attention_heads=3,
    num_key_value_heads=1,
    intermediate_size=7,
    vocab_size=11,
)


def factors(
    schedule: Schedule, *, warmup: int = 4, total: int = 12, least: float = 0.2, decay: float = 0.25
) -> list[float]:
    return [
        lr_factor(
            step,
            schedule=schedule,
            warmup_steps=warmup,
            total_steps=total,
            min_lr_ratio=least,
            decay_fraction=decay,
        )
        for step in range(1, total + 1)
    ]


@pytest.mark.parametrize(
    ("schedule", "after_warmup"),
    [
        ("constant", [1.0] * 8),
        ("linear", [1 - 0.1 * i for i in range(1, 9)]),
        ("cosine", [0.2 + 0.4 * (1 + math.cos(math.pi * i / 8)) for i in range(1, 9)]),
        ("wsd", [1.0] * 5 + [1 - 0.8 * i / 3 for i in (1, 2, 3)]),
    ],
)
def test_a_learning_rate_rises_to_its_peak_and_falls_by_its_schedule(
    schedule: Schedule, after_warmup: list[float]
) -> None:
    assert factors(schedule) == pytest.approx([0.25, 0.5, 0.75, 1.0, *after_warmup])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_without_warmup_the_first_step_falls_already_and_the_last_is_the_least(schedule: Schedule) -> None:
    found = factors(schedule, warmup=0, total=2, decay=1.0)
    assert found[0] == pytest.approx(0.6) and found[-1] == 0.2


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_a_step_past_the_last_stays_at_the_least(schedule: Schedule) -> None:
    past = lr_factor(99, schedule=schedule, warmup_steps=4, total_steps=12, min_lr_ratio=0.2, decay_fraction=0.25)
    assert past == 0.2


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant"])
def test_a_run_shorter_than_its_warmup_never_falls(schedule: Schedule) -> None:
    assert factors(schedule, warmup=4, total=4) == [0.25, 0.5, 0.75, 1.0]
    assert factors(schedule, warmup=6, total=3) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    past = lr_factor(9, schedule=schedule, warmup_steps=6, total_steps=6, min_lr_ratio=0.2, decay_fraction=0.5)
    assert past == 1


def test_a_decay_longer_than_the_run_begins_after_warmup_and_none_is_none() -> None:
    assert factors("wsd", decay=1.0) == pytest.approx(factors("linear"))
    assert factors("wsd", decay=0.0) == [0.25, 0.5, 0.75] + [1.0] * 9


def test_a_budget_is_read_off_the_trainer() -> None:
    made = budget(TRAINER, seq_len=17, num_parameters=1, num_sequences=7700)
    assert made == Budget(wanted=100, warmup=3, epochs=13, sequences_per_step=770, seq_len=17, num_sequences=7700)
    assert (made.steps_per_epoch, made.achievable, made.actual, made.min_epochs) == (10, 130, 100, 10)
    assert (made.tokens_per_step, made.total_tokens) == (770 * 17, 100 * 770 * 17)
    assert budget(TRAINER, seq_len=17, num_parameters=1, num_sequences=None).achievable is None
    assert replace(made, epochs=2).actual == 20


def test_the_steps_asked_for_by_whichever_budget_there_is() -> None:
    assert TRAINER.steps(17, 1) == 100
    tokens = replace(TRAINER, max_steps=None, tokens=770 * 17 * 9 - 1)
    assert (tokens.steps(17, 1), replace(tokens, tokens=770 * 17 * 9).steps(17, 1)) == (8, 9)
    ratio = replace(TRAINER, max_steps=None, tokens_per_param=20.5)
    assert ratio.steps(17, 770 * 17 * 4) == 82
    assert replace(ratio, tokens=770 * 17 * 3).steps(17, 770 * 17 * 4) == 3
    assert replace(ratio, tokens_per_param=None).steps(17, 1) == 0


def test_what_a_shape_comes_to() -> None:
    block = 2 * 6 + 2 * 6 * 6 + 2 * 6 * 2 + 3 * 6 * 7
    assert MODEL.num_parameters == 11 * 6 + 5 * block + 6
    assert MODEL.flops_per_token(13) == 6 * MODEL.num_parameters + 12 * 5 * 6 * 13
    assert (MODEL.num_tensors, replace(MODEL, qk_norm=True).num_tensors) == (47, 57)
