"""C-TRAINCFG-001: the arithmetic of steps, rows and epochs, against the numbers that history left."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.config.budget import Budget
from albor.config.schedule import lr_factor
from albor.config.schema.optim import Schedule
from albor.contracts import CONTRACTS, check_all


def budget(n, micro, accum, *, wanted=5_000, epochs=1, seq_len=1_024, warmup=0, world=1) -> Budget:
    return Budget(
        wanted=wanted,
        warmup=warmup,
        epochs=epochs,
        sequences_per_step=micro * accum * world,
        seq_len=seq_len,
        num_sequences=n,
    )


@pytest.mark.contract("C-TRAINCFG-001", level=2)
@pytest.mark.parametrize(
    ("n", "micro", "accum", "steps"),
    [(22_079, 4, 128, 43), (67_977, 4, 128, 132), (67_977, 4, 1, 16_994), (500, 4, 4, 31), (500, 4, 1, 125)],
)
def test_steps_per_epoch(n, micro, accum, steps) -> None:
    assert budget(n, micro, accum).steps_per_epoch == steps


@pytest.mark.contract("C-TRAINCFG-001", level=2)
@pytest.mark.parametrize(("n", "epochs", "achievable"), [(22_079, 117, 5_031), (67_977, 38, 5_016)])
def test_epochs_for_5000_steps(n, epochs, achievable) -> None:
    assert budget(n, 4, 128).min_epochs == epochs
    assert budget(n, 4, 128, epochs=epochs).achievable == achievable
    assert budget(n, 4, 128, epochs=epochs - 1).actual < 5_000 == budget(n, 4, 128, epochs=epochs).actual


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_epochs_are_counted_exactly_at_any_size() -> None:
    """Floats hold no integer of 17 digits to the unit."""
    assert budget(10, 1, 1, wanted=10**17 + 1).min_epochs == 10**16 + 1


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_tokens_per_step() -> None:
    assert budget(None, 4, 128).tokens_per_step == 524_288
    assert budget(None, 4, 32).tokens_per_step == 131_072
    assert 22_079 * 2_048 == 45_217_792
    assert budget(22_079, 4, 128, world=8).sequences_per_step == 4_096


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_learning_rate_of_the_first_run_at_its_end() -> None:
    factor = lr_factor(43, schedule="cosine", warmup_steps=2_000, total_steps=43, min_lr_ratio=0.1, decay_fraction=0.2)
    assert 3e-4 * factor == pytest.approx(6.45e-6)


@pytest.mark.contract("C-TRAINCFG-001", level=2)
@given(
    n=st.integers(1, 10_000_000),
    per_step=st.integers(1, 10_000),
    wanted=st.integers(1, 1_000_000),
    epochs=st.integers(1, 1_000),
)
def test_min_epochs_is_the_least_that_holds_the_steps(n, per_step, wanted, epochs) -> None:
    b = budget(n, per_step, 1, wanted=wanted, epochs=epochs)
    assert b.steps_per_epoch == math.floor(n / per_step)
    if b.steps_per_epoch == 0:
        assert b.min_epochs is None and b.achievable == 0 and b.actual == 0
        return
    assert b.min_epochs is not None
    assert budget(n, per_step, 1, wanted=wanted, epochs=b.min_epochs).actual == wanted
    if b.min_epochs > 1:
        assert budget(n, per_step, 1, wanted=wanted, epochs=b.min_epochs - 1).actual < wanted
    assert (b.actual == wanted) == (epochs >= b.min_epochs)
    assert b.total_tokens == b.actual * per_step * 1_024


@pytest.mark.contract("C-TRAINCFG-001", level=2)
@given(
    schedule=st.sampled_from(["cosine", "linear", "wsd", "constant"]),
    total=st.integers(1, 3_000),
    share=st.floats(0, 0.99),
    ratio=st.floats(0, 1),
    decay=st.floats(0, 1),
)
def test_every_schedule_rises_to_its_peak_and_never_again(
    schedule: Schedule, total: int, share: float, ratio: float, decay: float
) -> None:
    warmup = int(share * total)

    def lr(step: int) -> float:
        return lr_factor(
            step,
            schedule=schedule,
            warmup_steps=warmup,
            total_steps=total,
            min_lr_ratio=ratio,
            decay_fraction=decay,
        )

    rates = [lr(step) for step in range(1, total + 1)]
    assert all(0 <= r <= 1 for r in rates)
    rising, falling = rates[: max(warmup, 1)], rates[max(warmup, 1) - 1 :]
    assert rising == sorted(rising)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(falling))
    if warmup:
        assert rates[warmup - 1] == 1.0
        assert rates[0] == 1 / warmup
    decays = schedule in ("cosine", "linear") or (schedule == "wsd" and round(decay * total) > 0)
    assert rates[-1] == pytest.approx(ratio if decays and total > warmup else 1.0)
    assert min(falling) >= ratio - 1e-12
    assert lr(total + 1) == pytest.approx(rates[-1])


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_the_declared_rows_give_way_to_the_built_ones(case) -> None:
    declared = case("experiment=original/v4", stage="pretrain")
    assert declared.num_sequences == 2_587_890
    assert not [f for f in check_all(declared) if f.severity == "error"]
    built = case("experiment=original/v4", inputs={"rows": {"num_sequences": 500, "row_len": 2_048}})
    assert built.num_sequences == 500
    (error,) = [f for f in CONTRACTS["C-TRAINCFG-001"].findings(built) if "500 rows" in f.message]
    assert (error.severity, error.path) == ("error", "trainer.max_steps")


HISTORY = {
    "v1": (["C-TRAINCFG-001"], 524_288, 5_000, 43),
    "v1_fixed": ([], 524_288, 5_000, 5_000),
    "v2": ([], 524_288, 5_000, 5_000),
    "v3": (["C-TRAINCFG-003"], 4_096, 250_000, 250_000),
    "v4": ([], 131_072, 7_500, 7_500),
}


@pytest.mark.contract("C-TRAINCFG-001", "C-TRAINCFG-003", level=2)
@pytest.mark.parametrize("version", HISTORY)
def test_history_repeats_itself(version: str, case) -> None:
    errors, tokens, wanted, actual = HISTORY[version]
    made = case(f"experiment=original/{version}")
    assert sorted({f.id for f in check_all(made) if f.severity == "error"}) == errors
    assert list(made.cfg.refused_by) == errors
    b = made.budget
    assert (b.tokens_per_step, b.wanted, b.actual) == (tokens, wanted, actual)
    assert made.cfg.model.num_parameters == 398_509_056


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_the_first_run_is_refused_in_words(albor) -> None:
    outcome = albor("plan", "experiment=original/v1")
    assert outcome.code == 2
    assert "43 of 5,000 steps" in outcome.text
    assert "117 epochs" in outcome.text
    assert "trainer.epochs=117" in outcome.text
    assert albor("plan", "experiment=original/v1", "trainer.epochs=117").code == 0
    assert albor("plan", "experiment=original/v1", "trainer.epochs=116").code == 2


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"),
    [
        ("tiny", 3_934_656, 56),
        ("small", 15_735_168, 74),
        ("50m", 62_403_072, 110),
        ("350m", 398_509_056, 218),
    ],
)
def test_sizes(name: str, parameters: int, tensors: int, case, albor) -> None:
    model = case(f"model={name}").cfg.model
    assert (model.num_parameters, model.num_tensors) == (parameters, tensors)
    assert f"{parameters:,} parameters in {tensors} tensors" in albor("plan", f"model={name}").out
    h, layers, v, i = model.hidden_size, model.num_hidden_layers, model.vocab_size, model.intermediate_size
    assert parameters == v * h + layers * (2 * h + 2 * h * h + 2 * h * model.kv_dim + 3 * h * i) + h
