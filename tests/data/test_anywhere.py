"""The same dataset on one process, on several and on a cluster: equal to the byte."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from albor.config.schema.data import Data
from albor.config.schema.run import LocalExecutor, RayExecutor
from albor.config.schema.sources import LocalSource
from albor.data.corpus import prepare
from albor.data.fim import FimMix
from albor.data.pack import pack
from albor.data.sources import base
from albor.data.tokenizer import Codec
from albor.executors import open_executor

RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


def build(tree: Path, out: Path, codec: Codec, executor: LocalExecutor | RayExecutor) -> dict[str, str]:
    """SHA-256 of every file of the documents and the rows."""
    data = Data(name="test", source=LocalSource(roots=(str(tree),), licence="MIT"), val_fraction=0.2)
    places = {name: out / name for name in ("documents", "tokenizer", "rows")}
    for place in places.values():
        place.mkdir(parents=True)
    codec.save(places["tokenizer"])
    with open_executor(executor, directory=out / "work") as tasks:
        prepare(data, benchmarks=None, seed=1, out=places["documents"], work=out / "work", executor=tasks)
        pack(
            places["documents"], places["tokenizer"], row_len=128, fim=FimMix(rate=0.5, spm_rate=0.5), seed=1,
            out=places["rows"], work=out / "work", executor=tasks,
        )  # fmt: skip
    return {
        f"{name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("documents", "rows")
        for path in sorted(places[name].iterdir())
    }


@pytest.mark.parametrize(
    "executor", [LocalExecutor(workers=4), pytest.param(RayExecutor(workers=2), marks=[RAY, pytest.mark.slow])]
)
def test_equal_to_the_byte(
    tree: Path, tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch, executor: LocalExecutor | RayExecutor
) -> None:
    monkeypatch.setattr(base, "TASK_BYTES", 6_000)
    alone = build(tree, tmp_path / "alone", codec, replace(LocalExecutor(), workers=1))
    assert len([name for name in alone if name.startswith("documents/train")]) > 2
    assert build(tree, tmp_path / "many", codec, executor) == alone
