"""What a run tells Weights & Biases, through a stand-in for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from albor.runs.manifest import FileRef, InputRef, Manifest
from albor.runs.tracking import Mirror, NoTracker, Tracker, WandbTracker, logged_in, name_of, start

from .fake_wandb import Error, FakeWandb
from .samples import manifest

TRACKING = {"mode": "online", "project": "albor", "entity": "us", "tags": ("a", "b")}


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    """On a machine that has no key."""
    made, errors = FakeWandb(), ModuleType("wandb.errors")
    errors.Error = Error  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", made)
    monkeypatch.setitem(sys.modules, "wandb.errors", errors)
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "placeholder")
    monkeypatch.delenv("WANDB_SILENT")
    monkeypatch.setenv("HOME", str(tmp_path))
    return made


def run(mode: str = "online", **changes: Any) -> Manifest:
    inputs = {"rows": InputRef(stage="pack", id="feed", path="../p", digest="d1")}
    fields = {
        "stage": "pretrain",
        "config": {"lr": 0.1, "tracking": {**TRACKING, "mode": mode}},
        "environment": {"git_commit": "c0ffee"},
        "inputs": inputs,
        "group": "goal",
    }
    return manifest(**{**fields, **changes})


def tracker(wandb: FakeWandb) -> WandbTracker:
    made = WandbTracker(Path("here"), run(), TRACKING, "online")
    wandb.calls.clear()
    return made


def test_what_a_run_is_there(wandb: FakeWandb) -> None:
    WandbTracker(Path("out/here"), run(), TRACKING, "online")
    assert wandb.calls == [
        (
            "init",
            {
                "mode": "online",
                "project": "albor",
                "entity": "us",
                "tags": ["a", "b"],
                "id": "0123456789ab",
                "name": "pretrain/x-0123456789ab",
                "group": "goal",
                "job_type": "pretrain",
                "resume": "allow",
                "dir": "out/here",
                "config": {
                    "lr": 0.1,
                    "tracking": TRACKING,
                    "run": {
                        "id": "0123456789ab",
                        "git_commit": "c0ffee",
                        "inputs": {"rows": {"id": "feed", "digest": "d1"}},
                    },
                },
                "settings": {
                    "silent": True,
                    "console": "off",
                    "disable_git": True,
                    "x_disable_stats": True,
                    "init_timeout": 30,
                },
            },
        )
    ]


def test_a_run_that_is_kept_here_cannot_be_resumed_there(wandb: FakeWandb) -> None:
    WandbTracker(Path("here"), run(group="", environment={}), TRACKING, "offline")
    ((_, options),) = wandb.calls
    assert options["mode"] == "offline" and options["resume"] is None
    assert options["group"] == "0123456789ab", "a run of its own is its own group"
    assert options["config"]["run"]["git_commit"] is None


@pytest.mark.parametrize(("before", "after"), [(None, "true"), ("false", "false")])
def test_it_is_silent_unless_told_otherwise(
    before: str | None, after: str, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        monkeypatch.setenv("WANDB_SILENT", before)
    tracker(wandb)
    assert os.environ["WANDB_SILENT"] == after


@pytest.mark.parametrize(
    ("metrics", "call"),
    [
        ({"step": 3, "time": 17.0, "loss": 2.5, "lr": 0.1}, ("log", {"loss": 2.5, "lr": 0.1}, 3)),
        ({"step": 4.0, "loss": 2.5}, ("log", {"loss": 2.5}, 4)),
        ({"step": 0, "loss": 2.5}, ("log", {"loss": 2.5}, 0)),
        ({"accuracy": 0.5}, ("log", {"accuracy": 0.5}, None)),
        (
            {"alert": "spike", "message": "loss > 9", "step": 3},
            ("alert", {"title": "spike", "text": "loss > 9"}),
        ),
        ({"alert": 1, "message": 2}, ("alert", {"title": "1", "text": "2"})),
    ],
)
def test_what_is_logged_there(metrics: dict[str, Any], call: tuple[Any, ...], wandb: FakeWandb) -> None:
    tracker(wandb).log(metrics)
    assert wandb.calls == [call]


def test_what_is_said_at_the_end(wandb: FakeWandb) -> None:
    facts = {"loss": 2.5, "steps": 10, "dtype": "bfloat16", "shape": [1, 2], "nested": {"a": 1}, "none": None}
    tracker(wandb).finish(run(facts=facts, digest="d2", status="failed"), 75)
    assert wandb.summary == {
        "loss": 2.5,
        "steps": 10,
        "dtype": "bfloat16",
        "artifact_sha256": "d2",
        "status": "failed",
    }
    assert wandb.calls == [("finish", 75)]


DONE: dict[str, Any] = {"status": "done", "digest": "d2", "files": {"a/b.bin": FileRef(sha256="5a", bytes=3)}}


def test_a_finished_run_says_what_it_was_made_from_and_what_it_made(wandb: FakeWandb) -> None:
    tracker(wandb).finish(run(**DONE), 0)
    assert wandb.calls == [
        ("used", "pack-feed", "pack", {"artifact": "sha256:d1"}),
        ("made", "pretrain-x-0123456789ab", "pretrain", {"a/b.bin": "sha256:5a"}),
        ("finish", 0),
    ]


def test_only_a_finished_one_does(wandb: FakeWandb) -> None:
    for status in ("failed", "interrupted", "running"):
        tracker(wandb).finish(run(**{**DONE, "status": status}), 1)
        assert wandb.calls == [("finish", 1)]


def test_a_graph_that_is_refused_costs_no_numbers(
    wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Mirror(tracker(wandb))

    def fail(*_: Any, **__: Any) -> None:
        raise Error("no room")

    monkeypatch.setattr(wandb, "_log_artifact", fail)
    made.finish(run(**DONE), 0)
    assert wandb.calls == [("finish", 0)] and wandb.summary["artifact_sha256"] == "d2"
    assert capsys.readouterr() == ("", "W&B does not show what this run was made from (no room)\n")


def test_names_are_such_as_are_allowed_there() -> None:
    assert name_of("hub", "org/model@v1") == "hub-org_model_v1"
    long = name_of("pretrain", "x" * 200, "0123456789ab")
    assert len(long) == 128 and long.startswith("pretrain-xx") and long.endswith("x-0123456789ab")


def test_no_tracker_is_a_tracker(wandb: FakeWandb) -> None:
    made: Tracker = start(Path("here"), run("disabled"))
    assert isinstance(made, NoTracker)
    made.log({"loss": 1.0})
    made.finish(run(), 0)
    assert wandb.calls == []


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_the_mode_is_the_config_s(mode: str, wandb: FakeWandb, tmp_path: Path) -> None:
    made = start(tmp_path, run(mode))
    assert isinstance(made, Mirror)
    made.log({"loss": 1.0})
    made.finish(run(), 3)
    ((_, options), *rest) = wandb.calls
    assert rest == [("log", {"loss": 1.0}, None), ("finish", 3)]
    assert options["mode"] == mode and options["dir"] == str(tmp_path)
    assert (options["project"], options["id"]) == ("albor", "0123456789ab")


@pytest.mark.parametrize(("key", "mode"), [("", "offline"), ("secret", "online")])
def test_auto_is_online_for_who_has_a_key(
    key: str, mode: str, wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    assert logged_in() == bool(key)
    start(Path("here"), run("auto"))
    assert wandb.modes == [mode]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("machine api.wandb.ai login user password secret\n", True),
        ("machine example.org login user password secret\n", False),
        ("machine api.wandb.ai nonsense\n", False),
        ("", False),
        (None, False),
    ],
)
def test_a_key_in_the_netrc_file(text: str | None, known: bool, wandb: FakeWandb, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / ".netrc").write_text(text)
        (tmp_path / ".netrc").chmod(0o600)
    assert logged_in() is known


@pytest.mark.parametrize(("words", "cause"), [("timed out\nafter 30 seconds", "timed out"), ("", "Error")])
def test_who_cannot_be_reached_is_told_once_and_the_run_is_kept(
    words: str, cause: str, wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.refuses["online"] = Error(words)
    made = start(Path("here"), run())
    told = f"W&B cannot be reached ({cause}); this run is kept offline, `wandb sync` sends it\n"
    assert capsys.readouterr() == ("", told)
    assert [call[0] for call in wandb.calls] == ["init", "teardown", "init"]
    assert wandb.modes == ["online", "offline"]
    first, _, second = wandb.calls
    assert second[1] == first[1] | {"mode": "offline", "resume": None}
    made.finish(run(), 0)
    assert wandb.calls[-1] == ("finish", 0)


def test_other_failures_at_the_start_are_not_hidden(wandb: FakeWandb) -> None:
    wandb.refuses["online"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        start(Path("here"), run())


def test_a_failure_later_is_told_on_standard_error(
    wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(Path("here"), run())

    def fail(*_: Any, **__: Any) -> None:
        raise Error("quota")

    monkeypatch.setattr(wandb, "log", fail)
    made.log({"loss": 1.0})
    made.log({"loss": 1.0})
    made.finish(run(), 0)
    assert capsys.readouterr() == ("", "W&B failed (quota); metrics.jsonl goes on without it\n")
    assert [call[0] for call in wandb.calls] == ["init"]
