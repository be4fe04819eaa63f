"""Alerts: when they fire, when again, whom they tell, and that telling never holds training up."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from albor.config.schema.alerts import Alert, Logged
from albor.errors import AlborError
from albor.report.metrics import read_metrics
from albor.runs.metrics import NAME, MetricsLog
from albor.training.alerts import Alerts, Fired
from albor.training.notify import Notifier
from albor.training.pretrain import fit
from albor.training.sampler import Sampler, probes
from tests.data.sources.server import Answer, serving

from .toy import MODEL


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watch(clock: Clock | None = None, **alerts: Alert | None) -> tuple[Alerts, list[Fired]]:
    told: list[Fired] = []
    return Alerts(alerts, told.append, clock or time.monotonic), told


def steps(alerts: Alerts, metric: str, *values: float, first: int = 1) -> list[int]:
    """The steps at which the run should stop."""
    return [n for n, value in enumerate(values, first) if alerts({"step": n, metric: value})]


def test_above_and_below() -> None:
    alerts, told = watch(
        high=Alert(metric="grad_norm", above=100), low=Alert(metric="tokens_per_second", below=5), off=None
    )
    assert alerts({"step": 1, "grad_norm": 100, "tokens_per_second": 5}) is None and told == []
    assert alerts({"step": 2, "grad_norm": 100.5, "tokens_per_second": 4.9}) is None
    assert [(f.name, f.step, f.value) for f in told] == [("high", 2, 100.5), ("low", 2, 4.9)]
    assert told[0].message == "grad_norm 100.5 is above 100" and told[1].message == "tokens_per_second 4.9 is below 5"


def test_a_spike_is_seen_against_the_mean_before_it() -> None:
    alerts, told = watch(spike=Alert(metric="loss", above=3, times_ema=True))
    steps(alerts, "loss", 10.4, *[4.0] * 400, 11.9, 4.0, 13.0)
    (fired,) = told
    assert fired.step == 404 and fired.value == 13.0
    assert fired.message.startswith("loss 13 is above ") and "= 3 × its running mean 4." in fired.message


def test_it_fires_once_an_episode() -> None:
    alerts, told = watch(a=Alert(metric="loss", above=1))
    steps(alerts, "loss", 2, 2, 2, 0, 2, 2, 0, 0, 2)
    assert [f.step for f in told] == [1, 5, 9]


def test_it_waits_for_values_in_a_row_and_for_its_first_step() -> None:
    alerts, told = watch(a=Alert(metric="loss", above=1, for_steps=3, from_step=4))
    steps(alerts, "loss", 2, 2, 2, 2, 2, 0, 2, 2, 2, 2)
    assert [f.step for f in told] == [9]
    assert "3 times in a row" in told[0].message


def test_it_waits_for_a_time() -> None:
    clock = Clock()
    alerts, told = watch(clock, idle=Alert(metric="gpu_utilization", below=10, for_seconds=60))
    for now, value in ((0, 5), (30, 5), (40, 50), (50, 5), (109, 5), (110, 5), (200, 5)):
        clock.now = now
        alerts({"gpu_utilization": value})
        assert len(told) == (now >= 110)


def test_what_another_metric_says_changes_nothing() -> None:
    alerts, told = watch(a=Alert(metric="val_loss", above=5, for_steps=2))
    for step, value in ((10, 6.0), (20, 6.0)):
        alerts({"step": step, "val_loss": value})
        steps(alerts, "loss", *[1.0] * 9, first=step + 1)
    assert [f.step for f in told] == [20]


def test_values_that_are_not_finite_are_left_to_the_trainer() -> None:
    alerts, told = watch(a=Alert(metric="loss", above=1, times_ema=True), b=Alert(metric="grad_norm", above=1))
    alerts({"step": 1, "loss": 2.0, "grad_norm": float("inf")})
    alerts({"step": 2, "loss": float("nan"), "grad_norm": float("nan")})
    assert told == [] and alerts.state()["means"] == {"loss": 2.0}


def test_the_first_stop_ends_the_run_and_says_how_to_go_on() -> None:
    alerts, told = watch(
        warned=Alert(metric="loss", above=1),
        first=Alert(metric="grad_norm", above=100, action="stop"),
        second=Alert(metric="loss", above=1, action="stop"),
    )
    stop = alerts({"step": 7, "loss": 2.0, "grad_norm": 153.2})
    assert stop is not None and stop.name == "first" and len(told) == 3
    error = stop.error()
    assert error.exit_code == 1
    assert error.cause == "the alert 'first' stopped the run at step 7: grad_norm 153.2 is above 100"
    assert "last checkpoint" in str(error.help) and "alerts.first=null" in str(error.help)


def test_a_resumed_run_fires_where_the_whole_one_does() -> None:
    config = {
        "spike": Alert(metric="loss", above=1.5, times_ema=True),
        "long": Alert(metric="loss", above=2, for_steps=7),
        "held": Alert(metric="grad_norm", above=1),
    }
    values = [1 + (step * 0.37) % 1.9 + (step > 40) for step in range(120)]
    whole, told = watch(None, **config)
    steps(whole, "loss", *values)
    assert {f.name for f in told} == {"spike", "long"}
    for cut in (1, 39, 45, 60, 119):
        first, before = watch(None, **config)
        steps(first, "loss", *values[:cut])
        second, after = watch(None, **config)
        second.load(json.loads(json.dumps(first.state())))
        steps(second, "loss", *values[cut:], first=cut + 1)
        assert before + after == told
        assert second.state() == whole.state()


def test_alerts_may_change_between_two_parts_of_a_run() -> None:
    first, _ = watch(a=Alert(metric="loss", above=1), gone=Alert(metric="lr", above=1, times_ema=True))
    first({"step": 1, "loss": 2.0, "lr": 1.0})
    second, told = watch(b=Alert(metric="loss", above=1), a=None)
    second.load(json.loads(json.dumps(first.state())))
    steps(second, "loss", 2.0, first=2)
    assert [f.name for f in told] == ["b"]


# --- whom they tell ---


def test_alerts_are_lines_of_metrics_and_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"spike": Alert(metric="loss", above=3), "end": Alert(metric="loss", above=4, action="stop")}
    with MetricsLog(tmp_path) as log, Notifier(config, run="pretrain/x-1", log=log) as notify:
        alerts = Alerts(config, notify)
        for step, loss in ((1, 2.0), (2, 3.5), (3, 5.0)):
            log({"step": step, "loss": loss})
            alerts({"step": step, "loss": loss})
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert [line["alert"] for line in lines if "alert" in line] == ["spike", "end"]
    assert lines[2]["step"] == 2 and lines[2]["message"] == "loss 3.5 is above 3"
    err = capsys.readouterr().err
    assert "warning[A-spike] step 2: loss 3.5 is above 3" in err
    assert "A-end" not in err  # its error says so
    assert [row["loss"] for row in read_metrics(tmp_path / NAME)] == [2.0, 3.5, 5.0]


def hooked(**changes: Any) -> dict[str, Alert | None]:
    return {"a": Alert(metric="loss", above=1, action="webhook", url_env="HOOK", **changes)}


def test_a_webhook_receives_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda request: Answer()) as server:
        monkeypatch.setenv("HOOK", f"{server.url}/secret")
        with Notifier(hooked(), run="pretrain/x-1", log=lambda line: None) as notify:
            Alerts(hooked(), notify)({"step": 12, "loss": 2.5})
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/secret")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "run": "pretrain/x-1", "step": 12, "alert": "a", "message": "loss 2.5 is above 1", "value": 2.5}  # fmt: skip


def test_a_webhook_never_holds_training_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers only after training has gone on; the end of the run waits for it."""
    go_on = threading.Event()

    def answer(request: Any) -> Answer:
        go_on.wait(30)
        return Answer()

    with serving(answer) as server:
        monkeypatch.setenv("HOOK", server.url)
        with Notifier(hooked(), run="r", log=lambda line: None) as notify:
            Alerts(hooked(), notify)({"step": 1, "loss": 2.0})
            go_on.set()
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_fails_is_said_without_its_address(
    status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda request: Answer(status=status)) as server:
        monkeypatch.setenv("HOOK", f"{server.url}/secret")
        with Notifier(hooked(), run="r", log=lambda line: None) as notify:
            Alerts(hooked(), notify)({"step": 1, "loss": 2.0})
    err = capsys.readouterr().err
    assert f"its webhook answered {status}" in err and "secret" not in err
    with Notifier(hooked(), run="r", log=lambda line: None) as notify:
        Alerts(hooked(), notify)({"step": 1, "loss": 2.0})  # nobody listens there any more
    err = capsys.readouterr().err
    assert "could not be reached" in err and "secret" not in err


@pytest.mark.parametrize("value", [None, "", "not-an-address"])
def test_an_address_that_is_missing_is_refused_at_the_start(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK", value)
    with pytest.raises(AlborError, match="HOOK") as refused:
        Notifier(hooked(), run="r", log=lambda line: None)
    assert refused.value.exit_code == 2 and "not-an-address" not in str(refused.value)


# --- what is sampled ---


def test_a_sampler_feeds_what_is_watched() -> None:
    seen = threading.Event()
    config: dict[str, Alert | None] = {
        "beat": Alert(metric="seconds_late", above=30, from_step=1, action="stop"),
        "loss": Alert(metric="loss", above=1),
    }
    alerts = Alerts(config, lambda fired: seen.set())
    asked: list[str] = []

    def unwatched() -> float:
        asked.append("gpu")
        return 0.0

    with Sampler(alerts, {"seconds_late": lambda: 31.0, "gpu_utilization": unwatched}, every=0.01):
        assert not seen.wait(0.1)  # before the first step nothing is late
        assert alerts({"step": 1, "loss": 0.5}) is None or seen.is_set()
        assert seen.wait(10)
    stop = alerts({"step": 2, "loss": 0.5})
    assert stop is not None and stop.name == "beat" and stop.step == 1
    assert asked == [] and "seconds_late" not in json.dumps(alerts.state())


def test_a_sampler_with_nothing_to_do_does_not_start() -> None:
    alerts, _ = watch(a=Alert(metric="loss", above=1))
    with Sampler(alerts, {"seconds_late": lambda: 1.0}) as sampler:
        assert not sampler.is_alive()


def test_a_probe_that_fails_is_said_once_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    seen = threading.Event()
    config: dict[str, Alert | None] = {
        "idle": Alert(metric="gpu_utilization", below=10),
        "beat": Alert(metric="seconds_late", above=2),
    }
    late = iter([1.0, 1.0, 3.0])

    def gone() -> float:
        raise RuntimeError("the driver is gone")

    alerts = Alerts(config, lambda fired: seen.set())
    alerts({"step": 1})
    with Sampler(alerts, {"gpu_utilization": gone, "seconds_late": lambda: next(late, 3.0)}, every=0.01):
        assert seen.wait(10)
    assert capsys.readouterr().err.count("the driver is gone") == 1


def test_threads_and_the_loop_share_alerts() -> None:
    """Every episode is told once, whoever sees it first."""
    alerts, told = watch(a=Alert(metric="loss", above=1), b=Alert(metric="grad_norm", above=1))
    threads = [
        threading.Thread(target=lambda: [alerts({"loss": 2.0, "grad_norm": n % 2 * 2.0}) for n in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f.name for f in told].count("a") == 1


def test_the_probes_of_a_cpu() -> None:
    config: dict[str, Alert | None] = {"idle": Alert(metric="gpu_utilization", below=10)}
    found = probes(config, torch.device("cpu"), lambda: 3.0)
    assert list(found) == ["seconds_late"] and found["seconds_late"]() == 3.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a driver to ask")
def test_a_driver_that_cannot_be_asked_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    config: dict[str, Alert | None] = {"idle": Alert(metric="gpu_utilization", below=10)}
    assert list(probes(config, torch.device("cuda"), lambda: 3.0)) == ["seconds_late"]
    assert "warning[A-idle] nothing is watched" in capsys.readouterr().err
    assert probes({}, torch.device("cuda"), lambda: 3.0).keys() == {"seconds_late"}
    assert capsys.readouterr().err == ""


def test_every_metric_of_a_step_or_a_validation_can_be_watched(job) -> None:
    """Those that a CPU has."""
    told: list[dict[str, Any]] = []
    metrics = {*get_args(Logged)} - {"mfu", "mfu_6p"}
    made = job(alerts={m: Alert(metric=m, above=-1.0) for m in metrics}, log=told.append, log_every=12)
    fit(MODEL, made)
    assert {line["alert"] for line in told if "alert" in line} == metrics


def test_the_step_that_stopped_a_run_is_in_its_log(job) -> None:
    lines: list[dict[str, Any]] = []
    alert = Alert(metric="loss", above=1, action="stop", from_step=3)
    with pytest.raises(AlborError, match="stopped the run at step 3"):
        fit(MODEL, job(alerts={"boom": alert}, log=lines.append, log_every=1))
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert [line["step"] for line in lines if "alert" in line] == [3]
