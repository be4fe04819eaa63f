"""Throughput, utilisation and time left, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from albor.training.meter import GIB, Meter, memory

# 398,509,056 parameters at 2,048 tokens on one H200: 168,506 tok/s are 51.0% (PaLM) and 40.7% (6·P) of 989.5e12.
P350M, PALM = 398_509_056, 2_995_000_000


def meter(**changes) -> Meter:
    values = {"tokens_per_step": 131_072, "flops_per_token": PALM, "parameters": P350M, "peak_flops": 989.5e12,
              "total_steps": 1_000}  # fmt: skip
    return Meter(**(values | changes))


def test_rates_and_shares_of_the_peak() -> None:
    found = meter().step(1, 131_072 / 168_506)
    assert found["tokens_per_second"] == pytest.approx(168_506)
    assert found["mfu"] == pytest.approx(0.510, abs=5e-4)
    assert found["mfu_6p"] == pytest.approx(0.407, abs=5e-4)
    four = meter(tokens_per_step=4 * 131_072, peak_flops=4 * 989.5e12).step(1, 131_072 / 168_506)
    assert four["mfu"] == pytest.approx(found["mfu"])


def test_without_a_peak_there_is_no_utilisation() -> None:
    assert meter(peak_flops=None).step(1, 2.0).keys() == {"tokens_per_second", "eta_seconds"}


def test_the_time_left_is_that_of_the_latest_steps() -> None:
    one = meter(total_steps=100)
    assert one.step(1, 60.0)["eta_seconds"] == pytest.approx(99 * 60.0)
    found = [one.step(step, 2.0)["eta_seconds"] for step in range(2, 41)]
    assert found[-1] == pytest.approx(60 * 2.0)
    assert [one.step(step, 4.0)["eta_seconds"] for step in range(41, 81)][-1] == pytest.approx(20 * 4.0)
    assert meter(total_steps=100).step(100, 2.0)["eta_seconds"] == 0


def test_the_median_leaves_the_first_steps_out() -> None:
    one = meter(tokens_per_step=100)
    for step, seconds in enumerate([100.0, 50.0, 3.0, 2.0, 2.0], start=501):  # a process that resumed
        one.step(step, seconds)
        assert one.median_tokens_per_second() is None
    for step, seconds in enumerate([1.0, 1.0, 2.0, 1.0, 30.0], start=506):
        one.step(step, seconds)
    assert one.median_tokens_per_second() == pytest.approx(100.0)


def test_the_memory_of_a_cpu_is_what_the_process_held() -> None:
    before = memory(torch.device("cpu"))["memory_gib"]
    held = torch.ones(GIB // 4 // 4)
    after = memory(torch.device("cpu"))["memory_gib"]
    assert held.numel() and 0 < before <= after < 1_000
