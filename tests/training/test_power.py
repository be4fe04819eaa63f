"""The mean of what a device draws."""

from __future__ import annotations

import threading

import torch

from albor.training.power import Wattmeter, probe_of


def test_the_mean_of_what_was_asked() -> None:
    drawn, asked = iter([100.0, 300.0]), threading.Event()

    def watts() -> float:
        value = next(drawn, None)
        if value is None:
            asked.set()
            raise RuntimeError("the driver is restarted")
        return value

    with Wattmeter(watts, every=0.001) as meter:
        assert meter.mean is None or meter.mean in (100.0, 200.0)
        assert asked.wait(10)
    assert meter.mean == 200.0 and not meter.is_alive()


def test_where_nothing_can_be_asked_nothing_is_measured() -> None:
    assert probe_of(torch.device("cpu")) is None
    with Wattmeter(probe_of(torch.device("cpu"))) as meter:
        assert not meter.is_alive()
    assert meter.mean is None
    if not torch.cuda.is_available():
        assert probe_of(torch.device("cuda")) is None
