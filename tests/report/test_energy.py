"""Energy and carbon of runs: a formula with known numbers."""

from __future__ import annotations

from typing import Any

import pytest

from albor.report.energy import Assumed, spent, total
from albor.runs.manifest import Manifest

HARDWARE = {"name": "h100", "power": 700.0, "pue": 1.2, "carbon_intensity": 50.0}


def run(
    stage: str = "pretrain", *, took: float = 3600.0, facts: dict[str, Any] | None = None, **config: Any
) -> Manifest:
    whole = {"hardware": HARDWARE, "trainer": {"devices": 8, "nodes": 2}} | config
    return Manifest(stage=stage, version=1, id="0", label="x", status="done", command="", config=whole,
                    started=1000.0, finished=1000.0 + took, facts=facts or {})  # fmt: skip


def stated(name: str) -> float | None:
    return {"cpu": 15.0, "a100": 400.0}.get(name)


def test_sixteen_devices_for_an_hour() -> None:
    [it] = spent([run()], stated)
    assert (it.devices, it.seconds, it.watts, it.measured) == (16, 3600.0, 700.0, False)
    assert it.kwh == pytest.approx(16 * 0.7 * 1.2) and it.grams == pytest.approx(16 * 0.7 * 1.2 * 50)


def test_what_was_measured_goes_before_what_is_stated_and_what_is_assumed_before_both() -> None:
    [it] = spent([run(facts={"watts": 350.0})], stated)
    assert it.watts == 350.0 and it.measured
    [it] = spent([run(facts={"watts": 350.0})], stated, Assumed(power=100.0, pue=1.0, carbon_intensity=0.0))
    assert (it.watts, it.measured, it.grams) == (100.0, False, 0.0) and it.kwh == pytest.approx(1.6)


def test_data_are_made_by_processors_and_others_use_one_device() -> None:
    data, measured = spent([run("pack"), run("generate")], stated)
    assert (data.device, data.devices, data.watts) == ("cpu", 1, 15.0)
    assert (measured.device, measured.devices, measured.watts) == ("h100", 1, 700.0)


def test_older_runs_have_what_our_configs_state_or_nothing() -> None:
    old, unknown = spent([run(hardware={"name": "a100"}), run(hardware={"name": "mine"})], stated)
    assert (old.watts, old.pue, old.carbon_intensity) == (400.0, 1.56, 445.0)
    assert unknown.watts is None and unknown.kwh is None and unknown.grams is None
    assert total([old.kwh, unknown.kwh]) == old.kwh and total([None]) is None


def test_a_resumed_run_took_all_of_its_training() -> None:
    [it] = spent([run(took=10.0, facts={"seconds": 500.0})], stated)
    assert it.seconds == 500.0
    assert (
        spent([Manifest(stage="x", version=1, id="", label="", status="planned", command="", config={})], stated) == []
    )
