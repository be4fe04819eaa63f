"""Run directories made by real processes: what is in them, and what becomes of them when things go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from albor.errors import HELD
from albor.plan.processes import End, Processes
from albor.runs.store import exclusive
from tests.command import succeeds

pytestmark = pytest.mark.xdist_group("run directories")

PREPARE = ("stage=prepare", "tracking=none", "data=local", "data.source.roots=[src]", "data.source.licence=MIT")
TOKENIZER = ("stage=tokenizer", *PREPARE[1:], "tokenizer.vocab_size=280")


def write_packages(place: Path) -> None:
    """Six small ones, below ``src``."""
    for package in range(6):
        for module in range(2):
            file = place / "src" / f"package{package}" / f"module{module}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = "".join(f"    total = total + {package} * {line}\n" for line in range(9 + module))
            file.write_text(f"def compute_{package}_{module}(total):\n{lines}    return total\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with six small packages below ``src``."""
    write_packages(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which TOKENIZER was built."""
    place = tmp_path_factory.mktemp("built")
    write_packages(place)
    succeeds(*TOKENIZER, cwd=place)
    return place


@pytest.fixture
def tokenized(here: Path, built: Path) -> None:
    """TOKENIZER is built here, of the same files: their times are part of what a run is known by."""
    shutil.rmtree(here / "src")
    shutil.copytree(built, here, dirs_exist_ok=True)


@pytest.fixture
def prepared(tokenized: None, here: Path) -> None:
    """PREPARE is built here, and nothing else."""
    shutil.rmtree(here / "outputs" / "tokenizer")


def runs(root: Path = Path("outputs")) -> dict[str, Path]:
    return {p.parent.parent.name: p.parent for p in sorted(root.glob("*/*/manifest.yaml"))}


def manifest(directory: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((directory / "manifest.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def artifact(directory: Path) -> dict[str, bytes]:
    files = sorted(p for p in (directory / "artifact").rglob("*") if p.is_file())
    return {str(p.relative_to(directory)): p.read_bytes() for p in files}


def states(albor: Callable[..., Any], *texts: str) -> dict[str, tuple[str, str]]:
    return {n["stage"]: (n["state"], n["reason"]) for n in json.loads(albor("plan", "--json", *texts).out)["nodes"]}


def execute(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "albor.exec", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_from_beginning_to_end(here: Path, albor) -> None:
    assert albor(*TOKENIZER).code == 0
    made = runs()
    assert list(made) == ["prepare", "tokenizer"]
    prepare, tokenizer = manifest(made["prepare"]), manifest(made["tokenizer"])
    for directory, run in ((made["prepare"], prepare), (made["tokenizer"], tokenizer)):
        assert run["status"] == "done" and run["error"] is None
        assert directory.name == f"{run['label']}-{run['id']}"
        assert run["command"].startswith("python -m albor stage=tokenizer")
        assert run["created"] <= run["started"] <= run["finished"]
        assert run["config"]["tokenizer"]["vocab_size"] == 280 or run["stage"] == "prepare"
        assert run["group"] == f"tokenizer/{made['tokenizer'].name}"
        assert run["environment"]["python"] and run["environment"]["torch"]
        assert not (directory / "artifact.partial").exists() and not list(directory.glob(".*.tmp"))
        files = artifact(directory)
        assert {f"artifact/{name}" for name in run["files"]} == files.keys()
        for name, ref in run["files"].items():
            data = files[f"artifact/{name}"]
            assert ref == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert prepare["inputs"] == {}
    assert tokenizer["inputs"]["documents"]["id"] == prepare["id"]
    assert tokenizer["inputs"]["documents"]["digest"] == prepare["digest"]
    assert not tokenizer["inputs"]["documents"]["path"].startswith("/")
    assert tokenizer["facts"]["vocab_size"] == 280

    before = {p: p.stat().st_mtime_ns for p in Path("outputs").rglob("*")}
    again = albor(*TOKENIZER)
    assert again.code == 0 and "nothing to do" in again.err and "nothing it depends on has changed" in again.err
    assert {p: p.stat().st_mtime_ns for p in Path("outputs").rglob("*")} == before
    assert states(albor, *TOKENIZER) == dict.fromkeys(made, ("done", "nothing it depends on has changed"))

    listed = json.loads(albor("runs", "--json").out)
    assert [(r["stage"], r["status"]) for r in listed] == [("prepare", "done"), ("tokenizer", "done")]
    assert "tokenizer" not in albor("runs", "prepare").out
    assert "the same config" in albor("diff", prepare["id"], prepare["id"]).out
    assert "vocab_size" in albor("diff", prepare["id"], tokenizer["id"]).out


@pytest.mark.slow
def test_the_same_run_twice_has_the_same_bytes(here: Path, albor) -> None:
    assert albor(*TOKENIZER).code == 0 and albor(*TOKENIZER, "outputs=other").code == 0
    one, other = runs(), runs(Path("other"))
    for stage in one:
        assert one[stage].name == other[stage].name
        assert artifact(one[stage]) == artifact(other[stage])


def test_a_damaged_artifact_is_built_again(here: Path, tokenized: None, albor) -> None:
    made = runs()
    before = artifact(made["prepare"])
    train = made["prepare"] / "artifact" / "train-00000.parquet"
    train.write_bytes(train.read_bytes()[:-1])
    found = states(albor, *TOKENIZER)
    assert found["prepare"][0] == "stale" and "bytes instead of" in found["prepare"][1]
    assert found["tokenizer"] == ("stale", "its input documents is built again")
    assert albor(*TOKENIZER).code == 0
    assert artifact(made["prepare"]) == before
    train.unlink()
    assert states(albor, *TOKENIZER)["prepare"] == ("stale", "train-00000.parquet is missing")
    assert albor(*TOKENIZER).code == 0
    assert states(albor, *TOKENIZER)["tokenizer"][0] == "done"


def test_bytes_that_are_not_those_written_are_never_read(here: Path, prepared: None, albor) -> None:
    train = runs()["prepare"] / "artifact" / "train-00000.parquet"
    data = bytearray(train.read_bytes())
    data[len(data) // 2] ^= 1
    train.write_bytes(data)
    done = albor(*TOKENIZER)
    assert done.code == 2
    assert manifest(runs()["tokenizer"])["status"] == "planned"


def test_an_input_that_was_rebuilt_makes_what_used_it_stale(here: Path, tokenized: None, albor) -> None:
    directory = runs()["prepare"]
    run = manifest(directory)
    run["digest"] = "0" * 64
    (directory / "manifest.yaml").write_text(yaml.safe_dump(run))
    found = states(albor, *TOKENIZER)
    assert found["prepare"][0] == "done"
    assert found["tokenizer"] == ("stale", "its input documents has changed since")


def test_a_failed_run_is_run_again(here: Path, albor) -> None:
    texts = ("stage=tokenizer", "tracking=none", "tokenizer=hf", "tokenizer.path=mine", "tokenizer.vocab_size=280")
    Path("mine").mkdir()
    failed = albor(*texts)
    assert failed.code in (1, 2)
    (directory,) = runs().values()
    run = manifest(directory)
    assert run["status"] == "failed" and run["error"] and not (directory / "artifact").exists()
    assert states(albor, *texts)["tokenizer"][0] == "failed"
    assert "failed" in albor("runs").out
    # What the file holds is part of the id: mended, it is another run.
    assert albor(*TOKENIZER).code == 0
    made = next(p for p in Path("outputs/tokenizer").iterdir() if p.name.startswith("bpe_8k"))
    shutil.copytree(made / "artifact", "mine", dirs_exist_ok=True)
    assert albor(*texts).code == 0
    assert manifest(directory)["status"] == "failed"
    # A run that failed for a reason outside its config is run again under its own id.
    run = manifest(made) | {"status": "failed", "error": "no space", "files": {}, "digest": None}
    (made / "manifest.yaml").write_text(yaml.safe_dump(run))
    assert albor(*TOKENIZER).code == 0
    assert manifest(made)["status"] == "done" and manifest(made)["error"] is None


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(here: Path, albor) -> None:
    texts = ("stage=prepare", "tracking=none", "data.max_documents=200")
    assert albor(*texts, "outputs=clean").code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "albor", *texts], stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if runs() and manifest(runs()["prepare"])["status"] == "running":
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    directory = runs()["prepare"]
    assert manifest(directory)["status"] == "running"
    assert states(albor, *texts)["prepare"][0] == "running"
    assert albor(*texts).code == 0
    assert artifact(directory) == artifact(runs(Path("clean"))["prepare"])
    assert not (directory / "artifact.partial").exists()


def test_two_processes_at_once(here: Path, prepared: None, albor) -> None:
    directory = runs()["prepare"]
    before = (directory / "manifest.yaml").read_bytes()
    with exclusive(directory):
        done = execute(directory)
    assert done.returncode == HELD
    assert f"pid {os.getpid()}" in done.stderr and "Traceback" not in done.stderr
    assert (directory / "manifest.yaml").read_bytes() == before


def test_exec_refuses_what_is_no_run(here: Path) -> None:
    done = execute(here / "nothing")
    assert done.returncode == 2 and "no manifest" in done.stderr and "Traceback" not in done.stderr
    assert not (here / "nothing").exists()


def test_exec_refuses_a_run_whose_input_is_not_done(here: Path, tokenized: None, albor) -> None:
    made = runs()
    run = manifest(made["prepare"])
    (made["prepare"] / "manifest.yaml").write_text(yaml.safe_dump(run | {"status": "failed", "files": {}}))
    waiting = manifest(made["tokenizer"]) | {"status": "planned"}
    (made["tokenizer"] / "manifest.yaml").write_text(yaml.safe_dump(waiting))
    done = execute(made["tokenizer"])
    assert done.returncode == 2 and "documents is failed, not done" in done.stderr


def test_a_store_that_was_moved_still_works(here: Path, prepared: None, albor) -> None:
    shutil.move("outputs", "moved")
    assert states(albor, *TOKENIZER, "outputs=moved")["prepare"][0] == "done"
    assert albor(*TOKENIZER, "outputs=moved").code == 0
    shutil.move("moved", "again")
    assert {s for s, _ in states(albor, *TOKENIZER, "outputs=again").values()} == {"done"}
    assert albor("runs", "outputs=again").out.count("done") == 2


def test_a_run_stands_for_an_input(here: Path, prepared: None, albor) -> None:
    id_ = manifest(runs()["prepare"])["id"]
    for given in (id_, id_[:6], f"prepare/{runs()['prepare'].name}", str(runs()["prepare"])):
        plan = json.loads(
            albor("plan", "--json", "stage=tokenizer", "tracking=none", f"inputs.documents='{given}'").out
        )
        assert [n["stage"] for n in plan["nodes"]] == ["tokenizer"]
        assert plan["nodes"][0]["inputs"] == {"documents": id_}
    words = ("stage=tokenizer", "tracking=none", "tokenizer.vocab_size=280", f"inputs.documents='{id_}'")
    assert albor(*words).code == 0
    assert manifest(runs()["tokenizer"])["inputs"]["documents"]["digest"] == manifest(runs()["prepare"])["digest"]
    shutil.move("outputs", "moved")
    assert states(albor, *words, "outputs=moved")["tokenizer"][0] == "done"


def test_a_label_may_change_without_a_new_run(here: Path, prepared: None, albor) -> None:
    again = albor(*PREPARE, "name=mine")
    assert again.code == 0 and "nothing to do" in again.err
    assert len(runs()) == 1


@pytest.fixture
def tiny_disk(here: Path) -> Iterator[Path]:
    """A file system with room for a manifest or two."""
    place = here / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(here: Path, tiny_disk: Path, albor) -> None:
    texts = ("stage=prepare", "tracking=none", "data.max_documents=200", f"outputs='{tiny_disk}/outputs'")
    full = albor(*texts)
    assert full.code == 1
    (directory,) = runs(tiny_disk / "outputs").values()
    assert manifest(directory)["status"] in ("failed", "running", "planned")
    assert not (directory / "artifact").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    assert albor(*texts).code == 0
    assert manifest(directory)["status"] == "done"


def test_a_full_disk_is_one_message(here: Path, tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(b"x" * 60_000)
    command = [sys.executable, "-m", "albor", "stage=prepare", "tracking=none", f"outputs='{tiny_disk}/outputs'"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "free some space" in done.stderr and "Traceback" not in done.stderr


def test_what_a_killed_attempt_left_is_not_published(here: Path, prepared: None, albor) -> None:
    made = runs()["prepare"]
    files = sorted(path.name for path in (made / "artifact").iterdir())
    manifest = (made / "manifest.yaml").read_text()
    (made / "artifact").rename(made / "artifact.partial")
    (made / "artifact.partial" / "train-00007.parquet").write_bytes(b"stale")
    (made / "artifact.partial" / ".steps.json.k2x9.tmp").write_text("half")
    (made / "manifest.yaml").write_text(manifest.replace("status: done", "status: running"))
    assert albor(*PREPARE).code == 0
    assert sorted(path.name for path in (made / "artifact").iterdir()) == files


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from albor.exec import run

class OnTheWayOut:
    interrupt = (os.kill, os.getpid(), signal.SIGINT)
    def __del__(self):
        kill, *to = self.interrupt
        kill(*to)

def when_it_runs():
    while "status: running" not in (Path(sys.argv[1]) / "manifest.yaml").read_text():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

last = OnTheWayOut()
threading.Thread(target=when_it_runs, daemon=True).start()
run()
"""


def test_an_interrupt_that_was_answered_is_answered_once(here: Path, prepared: None, albor) -> None:
    """The second comes while the process is on its way out."""
    made = runs()["prepare"]
    manifest = (made / "manifest.yaml").read_text()
    (made / "manifest.yaml").write_text(manifest.replace("status: done", "status: planned"))
    end = Processes([sys.executable, "-c", INTERRUPTED, str(made)], os.environ, count=1, logs=made).run("prepare")
    assert end == End(75)


def test_what_is_built_may_refuse_a_run_further_on_before_anything_between_is_made(here: Path, albor) -> None:
    model = ("debug=default", "tokenizer.vocab_size=280", "model.vocab_size=280", "teacher.model=tiny")
    steps = ("up.pretrain.trainer.max_steps=2", "up.teacher.trainer.max_steps=2", "up.distill.trainer.max_steps=5000")
    refused = albor("stage=distill", *PREPARE[1:], *model, "up.teacher.model.vocab_size=280", *steps)
    assert refused.code == 2
    assert "C-TRAINCFG-001" in refused.err and "of 5,000 steps" in refused.err
    assert "trainer.max_steps, in distill/" in refused.err
    found = {stage: manifest(directory)["status"] for stage, directory in runs().items()}
    assert found == dict.fromkeys(("prepare", "tokenizer", "pack"), "done") | dict.fromkeys(
        ("pretrain", "distill"), "planned"
    )
