"""Weights & Biases as it is: a run kept offline, and a service that refuses."""

from __future__ import annotations

import http.server
import json
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from albor.runs import manifest
from albor.runs.manifest import InputRef, Manifest
from albor.runs.tracking import start

from .stores import put

TRACKING = {"mode": "offline", "project": "albor", "entity": None, "tags": ["t"]}


def run(**tracking: Any) -> Manifest:
    inputs = {"rows": InputRef(stage="pack", id="0a", path="x", digest="d")}
    return Manifest(stage="pretrain", version=1, id="1b1b", label="m", status="done", command="", inputs=inputs,
                    config={"tracking": TRACKING | tracking}, facts={"steps": 2, "curve": [1]}, digest="a")  # fmt: skip


def kept(place: Path) -> bytes:
    """What is there once W&B's own process, which writes it, has ended."""
    import wandb

    wandb.teardown()
    (file,) = place.glob("wandb/offline-run-*/run-1b1b.wandb")
    return file.read_bytes()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No key of this machine's user, and no service of W&B that outlives a test."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("NETRC", raising=False)
    yield
    import wandb

    wandb.teardown()


def test_an_offline_run_holds_metrics_alerts_and_what_the_run_came_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = start(tmp_path, run())
    tracker.log({"step": 1, "time": 5.0, "loss_of_a_step": 1.5})
    tracker.log({"val_loss_without_a_step": 1.0})
    tracker.log({"alert": "stalled", "message": "no step for 9 s"})
    tracker.finish(run(), 0)
    data = kept(tmp_path)
    for words in (b"loss_of_a_step", b"val_loss_without_a_step", b"no step for 9 s", b"artifact_sha256", b"steps"):
        assert words in data, words
    assert b"curve" not in data
    assert "W&B failed" not in capsys.readouterr().err


def records(data: bytes) -> Iterator[Any]:
    """What a .wandb file holds: after a header of 7 bytes LevelDB's log format, blocks of 32 KiB with records or parts
    of them (1 whole, 2 first, 3 middle, 4 last)."""
    from wandb.proto.wandb_internal_pb2 import Record

    at, part = 7, b""
    while at + 7 <= len(data):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(part)
            yield record
            part = b""


def test_an_offline_run_holds_what_it_was_made_from_and_what_it_made(tmp_path: Path) -> None:
    """An input is described as the run that made it describes its output: there they are one artifact."""
    maker = put(tmp_path, "pack", "0a0a", label="rows ü/x".replace("/", "_"), config={"tracking": TRACKING})
    described = start(maker, manifest.load(maker))
    described.finish(manifest.load(maker), 0)
    [made] = artifacts(next(maker.glob("wandb/offline-run-*/*.wandb")))
    place = put(tmp_path, "pretrain", "1b1b", inputs={"rows": maker}, config={"tracking": TRACKING})
    run = manifest.load(place)
    hub = InputRef(stage="hub", id="hf:org/model@v1", path="org/model@v1")
    run = replace(run, inputs={**run.inputs, "teacher": hub})
    start(place, run).finish(run, 0)
    taken, teacher, own = artifacts(next(place.glob("wandb/offline-run-*/*.wandb")))
    assert (taken.name, taken.type, taken.digest) == (made.name, made.type, made.digest)
    assert taken.use_after_commit and teacher.use_after_commit and not own.use_after_commit
    assert made.name == "pack-rows___x-0a0a" and teacher.name == "hub-org_model_v1" and own.type == "pretrain"
    [file] = own.manifest.contents
    assert file.path == "data.bin" and file.ref == file.digest == f"sha256:{run.files['data.bin'].sha256}"
    assert not file.local_path, "nothing is uploaded"
    assert json.loads(own.metadata)["digest"] == run.digest


def artifacts(path: Path) -> list[Any]:
    import wandb

    wandb.teardown()
    return [r.artifact for r in records(path.read_bytes()) if r.WhichOneof("record_type") == "artifact"]


def test_without_a_key_auto_is_offline(tmp_path: Path) -> None:
    start(tmp_path, run(mode="auto")).finish(run(), 0)
    assert kept(tmp_path)


class Refuses(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


def test_a_service_that_refuses_leaves_the_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        tracker = start(tmp_path, run(mode="auto"))
        server.shutdown()
    assert "W&B cannot be reached" in capsys.readouterr().err
    tracker.log({"step": 1, "loss_of_a_step": 1.5})
    tracker.finish(run(), 0)
    assert b"loss_of_a_step" in kept(tmp_path)
