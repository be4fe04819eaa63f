"""`albor drift`: one byte is enough, a store that was moved is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from albor.audit.drift import Found, look, with_upstream
from albor.runs import manifest
from albor.runs.store import Run, Store
from tests.conftest import Outcome

pytestmark = pytest.mark.xdist_group("audit")
STAGES = ("prepare", "tokenizer", "pack", "pretrain", "generate", "eval")


def drifted(store: Path, *, quick: bool = False) -> list[Found]:
    return look(Store(store).runs(), quick=quick).drifted


def flip(path: Path) -> None:
    """One bit; size and times stay."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit(run: Run, **changes: Any) -> None:
    manifest.save(run.directory, replace(run.manifest, **changes))


def test_a_store_as_it_was_made_has_not_drifted_wherever_it_lies(
    store: Path, albor: Callable[..., Outcome], tmp_path: Path
) -> None:
    for place in (store, tmp_path / "elsewhere" / "deep"):
        if place != store:
            shutil.move(store, tmp_path / "elsewhere")
            shutil.copytree(tmp_path / "elsewhere", place)  # other times, too
        done = albor("drift", f"outputs={place}")
        assert done.code == 0 and done.out.startswith("nothing drifted: 6 finished runs"), done.text
        assert done.err == ""
        done = albor("drift", "--quick", f"outputs={place}")
        assert done.code == 0 and "by size alone" in done.out


@pytest.mark.parametrize("stage", STAGES)
def test_one_flipped_bit_is_found_in_the_artifact_of_every_stage(
    stage: str, store: Path, run_of: Callable[[str], Run], albor: Callable[..., Outcome]
) -> None:
    run = run_of(stage)
    for file in run.manifest.files:
        flip(run.artifact / file)
        [found] = drifted(store)
        assert (found.run, found.kind, found.path) == (f"{stage}/{run.directory.name}", "changed", file)
        flip(run.artifact / file)
    assert drifted(store) == []
    flip(run.artifact / file)
    done = albor("drift", "--json", run_of("eval").directory.name, f"outputs={store}")
    assert done.code == 1 and [it["path"] for it in json.loads(done.out)["drifted"]] == [file]
    assert drifted(store, quick=True) == [], "the size is the same"


def test_files_that_are_gone_cut_or_added_are_found_by_size_alone(store: Path, run_of: Callable[[str], Run]) -> None:
    run = run_of("pack")
    first, second, *_ = run.manifest.files
    (run.artifact / first).unlink()
    (run.artifact / second).write_bytes(b"")
    (run.artifact / "added.txt").write_text("x")
    for quick in (True, False):
        assert {(it.kind, it.path) for it in drifted(store, quick=quick)} == {
            ("missing", first),
            ("changed", second),
            ("added", "added.txt"),
        }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (lambda made: {"digest": "0" * 64}, "digest"),
        (lambda made: {"config": {**made.config, "seed": 43}}, "id"),
        (lambda made: {"identity": {**made.identity, "steps": "other"}}, "id"),
        (lambda made: {"id": "0" * 12}, "id"),
    ],
)
def test_a_manifest_that_no_longer_follows_from_itself(changes, path, store: Path, run_of) -> None:
    run = run_of("prepare")
    edit(run, **changes(run.manifest))
    assert ("manifest", path) in {(it.kind, it.path) for it in drifted(store) if it.run.startswith("prepare/")}


def test_what_does_not_determine_a_result_is_no_drift(store: Path, run_of: Callable[[str], Run]) -> None:
    run = run_of("pretrain")
    config = {**run.manifest.config, "hardware": {**run.manifest.config["hardware"], "mfu": 0.25}}
    edit(run, config=config, command="another", environment={})
    assert drifted(store) == []


def test_an_input_that_was_made_again_is_another(store: Path, run_of: Callable[[str], Run]) -> None:
    run, taker = run_of("tokenizer"), run_of("pack")
    flip(run.artifact / "tokenizer.json")
    files = manifest.artifact_files(run.artifact)
    edit(run, files=files, digest=manifest.artifact_digest(files))
    found = {(it.run, it.kind, it.path) for it in drifted(store)}
    assert (f"pack/{taker.directory.name}", "input", "tokenizer") in found
    assert {kind for _, kind, _ in found} == {"input"}


def test_what_is_gone_upstream_is_said_and_is_no_drift(
    store: Path, run_of: Callable[[str], Run], albor: Callable[..., Outcome]
) -> None:
    shutil.rmtree(run_of("prepare").directory)
    done = albor("drift", f"outputs={store}")
    assert done.code == 0 and "is gone" in done.err and "5 finished runs" in done.out
    assert len(with_upstream([run_of("pack")])) == 2


def test_a_directory_given_by_hand_is_held_against_its_bytes(
    store: Path, tmp_path: Path, run_of: Callable[[str], Run]
) -> None:
    given = tmp_path / "weights"
    shutil.copytree(run_of("pretrain").artifact, given)
    digest = manifest.artifact_digest(manifest.artifact_files(given))
    run = run_of("generate")
    ref = manifest.InputRef(stage="files", id="files:0", path=str(given), digest=digest)
    edit(run, inputs={**run.manifest.inputs, "model": ref})

    def found() -> list[tuple[str, str]]:
        return [(it.kind, it.path) for it in drifted(store) if it.kind == "input"]

    assert found() == []
    flip(given / "model.safetensors")
    assert found() == [("input", "model")]
    shutil.rmtree(given)
    assert found() == []


@pytest.mark.parametrize("number", ["0", "2"])
def test_a_manifest_of_another_schema_is_refused_by_every_verb_with_its_number_and_place(
    number: str, store: Path, run_of: Callable[[str], Run], albor: Callable[..., Outcome]
) -> None:
    run = run_of("tokenizer")
    path = run.directory / manifest.NAME
    path.write_text(path.read_text().replace("schema: 1", f"schema: {number}", 1))
    said = f"a manifest of schema {number}; this albor reads 1"
    name, taker = run.directory.name, run_of("pretrain").directory.name
    for words in (
        ("lineage", name),
        ("lineage", taker),
        ("drift", name),
        ("gc", name),
        ("card", taker),
        ("release", taker),
        ("verify", name),
        ("audit", taker),
        ("monitor", name, "--once"),
        ("diff", name, name),
        ("data", "stats", name),
        ("sample", name, "--prompt", "x"),
    ):
        done = albor(*words, f"outputs={store}")
        assert done.code == 2 and said in done.text and name in done.text, (words, done)
    done = albor("runs", f"outputs={store}")
    assert done.code == 0 and said in done.err and name in done.err and name not in done.out
    done = albor("drift", f"outputs={store}")
    assert done.code == 1 and said in done.out
    done = albor("gc", f"outputs={store}")
    assert done.code == 0 and "nothing to free" in done.out
