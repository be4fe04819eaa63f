"""What the command line says to values that cannot be meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from albor.runs import manifest
from albor.runs.manifest import Manifest

LOCAL = ("stage=prepare", "data=local", "data.source.licence=MIT")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("stage=prepare", "++data.source=3"), "E-TYPE", "expected a mapping, got 3"),
        (("stage=prepare", "++data.source={roots:[a]}"), "E-KEY", "is a key of another data.source than the chosen"),
        (("stage=export", "stage.licence=mitt"), "E-VALUE", "did you mean mit?"),
        (("stage=prepare", "data.source.kind=nope"), "E-VALUE", "the values are stdlib, local,"),
        (("stage=pretrain", "++alerts.mine=3"), "E-TYPE", "expected a mapping, got 3"),
        (("stage=pretrain", "++trainer=3"), "E-", "trainer"),
        (("stage=eval", "++task.mine={}"), "E-MISSING", "give one: task.mine.kind=…"),
        (("stage=eval", "eval.of=prepare"), "E-VALUE", "prepare makes documents, and generate needs a model"),
        (("stage=prepare", "~data.nothing"), "E-KEY", "`data.nothing` is not there to be deleted"),
        (("stage=prepare", "data.name='a/b'"), "E-RANGE", "cannot name a directory"),
        (
            ("stage=eval", "++task.mine={kind: humaneval, hub: {repo: a/b, files: []}}"),
            "E-RANGE",
            "must not be empty",
        ),
        (
            (*LOCAL, "data.source.roots=[a]", "data.source.roots.5=a"),
            "E-",
            "roots",
        ),
        (("stage=pretrain", "inputs.rows=hf:a/b"), "E-RUN", "only weights are taken from the Hub by name"),
        (("stage=pretrain", "inputs.rows=nowhere"), "E-RUN", "there is no run 'nowhere'"),
        (("stage=prepare", "seed=${oc.env:SECRET}"), "E-INTERPOLATION", "SECRET may not enter a config"),
        (("stage=prepare", "seed=${oc.env:SLURM_NOT}"), "E-INTERPOLATION", "SLURM_NOT is not set"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_value_that_cannot_be_meant_is_refused_with_its_place(
    words: tuple[str, ...], code: str, said: str, albor: Callable[..., Any]
) -> None:
    done = albor("plan", *words)
    assert done.code == 2 and f"error[{code}" in done.err and said in done.err, done.text


@pytest.mark.parametrize(
    ("stage", "status", "said"),
    [
        ("pack", "running", "the run pack/m-1b1b is running, not done"),
        ("prepare", "done", "pack/m-1b1b is a run of prepare, which makes documents"),
    ],
)
def test_a_run_that_is_no_such_input_is_refused(
    stage: str, status: Any, said: str, albor: Callable[..., Any], tmp_path: Any
) -> None:
    place = tmp_path / "outputs/pack/m-1b1b"
    place.mkdir(parents=True)
    manifest.save(place, Manifest(stage=stage, version=1, id="1b1b", label="m", status=status, command="", config={}))
    done = albor("plan", "stage=pretrain", "inputs.rows=pack/m-1b1b")
    assert done.code == 2 and said in done.err, done.text
