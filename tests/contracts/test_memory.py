"""Memory of training, counted by hand for one small shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from albor.contracts import Case
from albor.contracts.memory import (
    activation_bytes_per_token,
    checkpoint_bytes,
    largest_micro_batch,
    state_bytes,
    training_bytes,
)

# 2 layers of width 64 with 4 heads of 16, 2 of them for keys and values, feed-forward 160, 1,000 words.
SHAPE = (
    "model.num_hidden_layers=2", "model.hidden_size=64", "model.num_attention_heads=4", "model.num_key_value_heads=2",
    "model.intermediate_size=160", "model.vocab_size=1000", "tokenizer.vocab_size=1000",
)  # fmt: skip
BLOCK = 64 * (2 * 64 + 2 * 32 + 3 * 160)
PARAMETERS = 1000 * 64 + 2 * (BLOCK + 2 * 64) + 64
LOGITS = 2.5 * 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("trainer.precision=float32", "trainer.compile=true"), 4 * 2 * (7 * 64 + 2 * 32 + 3 * 160) + LOGITS),
        (("trainer.precision=bf16", "trainer.compile=true"), 2 * 2 * (7 * 64 + 2 * 32 + 3 * 160) + LOGITS),
        (("trainer.precision=fp8", "trainer.compile=true"), 2 * 2 * (7 * 64 + 2 * 32 + 2 * 160) + LOGITS),
        (("trainer.precision=bf16", "trainer.compile=false"), 1.7 * 2 * 2 * (7 * 64 + 2 * 32 + 3 * 160) + LOGITS),
        (
            ("trainer.precision=bf16", "trainer.compile=true", "trainer.activation_checkpointing=true"),
            2 * (2 * 64 * 2 + 7 * 64 + 2 * 32 + 3 * 160) + LOGITS,
        ),
    ],
)
def test_activations_of_a_token(words: tuple[str, ...], expected: float, case: Callable[..., Case]) -> None:
    cfg = case(*SHAPE, *words).cfg
    assert activation_bytes_per_token(cfg.model, cfg.trainer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("trainer.precision=float32",), 16 * PARAMETERS),
        (("trainer.precision=bf16",), 18 * PARAMETERS),
        (("trainer.precision=bf16", "optim=muon"), 18 * PARAMETERS - 4 * 2 * BLOCK),
        (("trainer.precision=bf16", "trainer.strategy=fsdp"), 18 * PARAMETERS),
        (("trainer.precision=bf16", "trainer.devices=2"), 18 * PARAMETERS),
        (
            ("trainer.precision=bf16", "trainer.strategy=fsdp", "trainer.devices=2"),
            18 * PARAMETERS // 2 + 8 * (1000 * 64 + 2 * BLOCK),
        ),
        (
            ("trainer.precision=float32", "trainer.strategy=fsdp", "trainer.devices=2", "trainer.nodes=2"),
            16 * PARAMETERS // 4 + 8 * (1000 * 64 + 2 * BLOCK),
        ),
    ],
)
def test_weights_gradients_and_moments(words: tuple[str, ...], expected: int, case: Callable[..., Case]) -> None:
    cfg = case(*SHAPE, *words).cfg
    assert cfg.model.num_parameters == PARAMETERS
    assert state_bytes(cfg.model, cfg.trainer, cfg.optim) == expected


def test_a_step_holds_the_state_and_the_activations_of_its_micro_batch(case: Callable[..., Case]) -> None:
    cfg = case(*SHAPE, "trainer.precision=bf16", "trainer.micro_batch_size=3", "trainer.grad_accum=7").cfg
    of_a_token = activation_bytes_per_token(cfg.model, cfg.trainer)
    assert training_bytes(cfg.model, cfg.trainer, 128, cfg.optim) == int(18 * PARAMETERS + 3 * 128 * of_a_token)


def test_checkpoints_hold_weights_and_two_moments_and_the_export_weights(case: Callable[..., Case]) -> None:
    cfg = case(*SHAPE, "trainer.keep_last=3", "trainer.keep_best=2").cfg
    assert checkpoint_bytes(cfg.model, cfg.trainer) == PARAMETERS * (12 * (3 + 2 + 1) + 4)


def test_the_largest_micro_batch_leaves_8_percent_to_the_allocator(case: Callable[..., Case]) -> None:
    cfg = case(*SHAPE, "trainer.precision=bf16").cfg
    of_a_row = 128 * activation_bytes_per_token(cfg.model, cfg.trainer)
    for rows in (0, 1, 5):
        memory = int((18 * PARAMETERS + (rows + 0.5) * of_a_row) / 0.92)
        assert largest_micro_batch(cfg.model, cfg.trainer, 128, memory, cfg.optim) == rows
    assert largest_micro_batch(cfg.model, cfg.trainer, 128, 1, cfg.optim) == 0
