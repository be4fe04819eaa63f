"""Points of a sweep as processes: side by side, failing, interrupted, killed; each ends as its run says."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from albor.runs import sweeps
from albor.runs.manifest import load
from tests.cluster.slurm import NEEDS_SLURM, fake_slurm, until
from tests.command import COMMAND, albor, succeeds
from tests.executors.conftest import RAY
from tests.small_corpus import TINY, write_corpus

HERE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
PREPARE = ("debug=default", "tracking=none", "data=local", "data.source.licence=MIT", "stage=prepare")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_corpus(tmp_path)
    return tmp_path


def statuses(place: Path, stage: str) -> list[str]:
    return sorted(load(path).status for path in place.glob(f"outputs/{stage}/*"))


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(("hydra/launcher=basic",), marks=pytest.mark.slow),
        HERE,
        pytest.param(("hydra/launcher=ray",), marks=[*RAY, pytest.mark.slow]),
    ],
    ids=lambda words: words[0],
)
def test_a_failing_point_is_told_as_it_fails_and_the_others_go_on(launcher: tuple[str, ...], place: Path) -> None:
    (place / "empty").mkdir()
    (place / "empty/nothing.txt").write_text("")
    points = (*PREPARE, "data.source.roots=[empty],[src]", "seed=1,2", *launcher)
    done = albor("-m", *points, cwd=place)
    assert done.returncode == 1 and "2 of 4 points done" in done.stderr
    assert statuses(place, "prepare") == ["done", "done", "failed", "failed"]
    assert done.stderr.index("failed" if launcher[0] != "hydra/launcher=basic" else "error") < done.stderr.index(
        "2 of 4"
    )
    assert "Traceback" not in done.stderr
    record = sweeps.latest(place / "outputs")
    assert record is not None and len(record.runs) == 4 and record.points[0] == ("data.source.roots=[empty]", "seed=1")
    assert {load(path).group for path in record.directories(place / "outputs")} == {record.name}
    first = albor("-m", *points, "--fail-fast", cwd=place)
    assert first.returncode == 1 and "--fail-fast" in first.stderr


BOTH = (*TINY, "stage=tokenizer", "data.source.roots=[empty],[src]", "tokenizer.vocab_size=340,350")


@pytest.mark.parametrize(
    "launcher",
    [
        ("hydra/launcher=basic",),
        pytest.param(HERE, marks=pytest.mark.slow),
        pytest.param(("hydra/launcher=ray",), marks=[*RAY, pytest.mark.slow]),
        pytest.param(("hydra/launcher=submitit_slurm",), marks=[*NEEDS_SLURM, pytest.mark.slow]),
    ],
    ids=lambda words: words[0],
)
def test_what_several_points_need_may_fail_without_those_that_do_not_need_it(
    launcher: tuple[str, ...], place: Path, request: pytest.FixtureRequest
) -> None:
    if "slurm" in launcher[0]:
        request.getfixturevalue("slurm")
    (place / "empty").mkdir()
    (place / "empty/nothing.txt").write_text("")
    done = albor("-m", *BOTH, *launcher, cwd=place)
    assert done.returncode == 1 and "2 points cannot start without prepare/" in done.stderr, done.stderr
    assert statuses(place, "prepare") == ["done", "failed"]
    assert statuses(place, "tokenizer") == ["done", "done", "planned", "planned"]
    assert "2 of 4 points done" in done.stderr and "Traceback" not in done.stderr
    cannot = [line for line in done.stdout.splitlines() if "  planned  " in line]
    assert len(cannot) == 2 and all("prepare/" in line and "no file below" in line for line in cannot), done.stdout


LONG = (*TINY, "stage=pretrain", "trainer.max_steps=3000", "trainer.epochs=200", "trainer.save_every=3000")


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, "-m", *LONG, *words], cwd=place, stderr=subprocess.PIPE, text=True)


def training(place: Path, count: int) -> bool:
    logs = [path.read_text().count("\n") for path in place.glob("outputs/pretrain/*/metrics.jsonl")]
    return len(logs) == count and min(logs) > 3


@pytest.mark.slow
def test_one_sweep_runs_once_at_a_time_and_ctrl_c_has_every_point_save(place: Path) -> None:
    sweep = start(place, *HERE, "optim.lr=1e-3,2e-3,3e-3")
    until(lambda: training(place, 2), 240)
    second = albor("-m", *LONG, *HERE, "optim.lr=1e-3,2e-3,3e-3", cwd=place)
    assert second.returncode != 0 and "another process" in second.stderr and "Traceback" not in second.stderr
    one = albor(*LONG, "optim.lr=1e-3", cwd=place)
    assert one.returncode == 2 and one.stderr.count("another process (pid ") == 1, "nor does one of its points"
    sweep.send_signal(signal.SIGINT)
    _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == 75 and "the jobs save" in said
    assert statuses(place, "pretrain") == ["interrupted", "interrupted", "planned"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [("hydra/launcher=basic",), HERE], ids=lambda words: words[0])
def test_all_ranks_of_a_point_train_its_config(launcher: tuple[str, ...], place: Path) -> None:
    """Hydra's launchers may compose another config on another rank; here ranks read the point's manifest."""
    words = (*TINY, "stage=pretrain", "trainer.max_steps=20", "trainer.devices=2", "trainer.micro_batch_size=1")
    succeeds("-m", *words, "optim.lr=1e-3,2e-3", *launcher, cwd=place)
    for rate in ("1e-3", "2e-3"):
        succeeds(*words, f"optim.lr={rate}", "outputs=alone", cwd=place)

    def digests(store: str) -> dict[str, str | None]:
        return {run.id: run.digest for path in place.glob(f"{store}/pretrain/*") if (run := load(path))}

    assert len(digests("alone")) == 2 and digests("outputs") == digests("alone")


@pytest.mark.slow
def test_a_killed_sweep_leaves_nothing_running(place: Path) -> None:
    sweep = start(place, *HERE, "optim.lr=1e-3,2e-3,3e-3")
    until(lambda: training(place, 2), 240)
    left = pids(place)
    assert len(left) == 2
    sweep.kill()
    sweep.communicate()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


@pytest.mark.slow
def test_a_closed_terminal_has_a_training_save(place: Path) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(place)
        os.execv(COMMAND[0], [*COMMAND, *LONG])
    os.set_blocking(terminal, False)

    def trains() -> bool:
        with suppress(BlockingIOError):
            os.read(terminal, 1 << 16)
        return training(place, 1)

    until(trains)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 75
    assert statuses(place, "pretrain") == ["interrupted"] and list(place.glob("outputs/pretrain/*/checkpoints/*"))


def pids(place: Path) -> list[int]:
    """The stage processes that hold run directories."""
    locks = place.glob("outputs/pretrain/*/.lock")
    found = [int(text) for lock in locks if (text := lock.read_text().strip())]
    return [
        pid
        for pid in found
        if Path(f"/proc/{pid}/cmdline").exists() and b"albor.exec" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize(
    ("words", "place_", "fix"),
    [
        (["hydra/launcher=jobib"], "override hydra/launcher=jobib", "`hydra/launcher=joblib`"),
        (["hydra/launcher=joblib", "hydra.launcher.n_job=2"], "hydra.launcher.n_job=2", "`hydra.launcher.n_jobs`"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "n_jobs=0", "must be > 0, or -1 for one per core"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=-2"], "n_jobs=-2", "must be > 0, or -1 for one per core"),
        (["hydra.launcher.n_jobs=2"], "hydra.launcher.n_jobs=2", "no keys"),
        (["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=0"], "timeout_min=0", "must be > 0"),
        (["hydra/sweeper=optunaa"], "override hydra/sweeper=optunaa", "`hydra/sweeper=optuna`"),
        (["hydra/sweeper=optuna"], "hydra/sweeper=optuna", "interval(1e-4, 1e-2)"),
        (["optim.lr=interval(1e-4,1e-2)"], "optim.lr", "hydra/sweeper=optuna"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_made(
    words: list[str], place_: str, fix: str, albor, tmp_path: Path
) -> None:
    seeds = [] if "hydra/sweeper=optuna" in words else ["seed=1,2"]
    done = albor("-m", "stage=pretrain", "tracking=none", *seeds, *words)
    assert done.code == 2 and place_ in done.err and fix in done.err, done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [[], ["plan"], ["validate"]], ids=["run", "plan", "validate"])
@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("hydra/launcher=jobib", "`hydra/launcher=joblib`"),
        ("hydra/launcher=joblib", "add -m"),
        ("hydra.sweeper.n_trials=3", "add -m"),
    ],
)
def test_how_a_sweep_is_run_is_not_said_where_there_is_none(
    verb: list[str], word: str, fix: str, albor, tmp_path: Path
) -> None:
    done = albor(*verb, "stage=pretrain", "tracking=none", word)
    assert done.code == 2 and f"override {word}" in done.err and fix in done.err, done.err
    assert list(tmp_path.iterdir()) == []


def test_corners_of_a_search_are_validated(albor) -> None:
    words = ("stage=pretrain", "hydra/sweeper=optuna", "optim.lr=tag(log, interval(1e-4, 1e-2))")
    done = albor("validate", "-m", *words)
    assert done.code == 0 and "ok: 3 corners" in done.out, done.text
    assert albor("validate", "-m", *words, "optim.weight_decay=interval(-1,0.1)").code == 2


@pytest.mark.parametrize(("launcher", "lacks"), [("submitit_slurm", "sbatch"), ("ray", "albor[cluster]")])
def test_a_launcher_that_is_not_here_says_how_to_get_it(
    launcher: str, lacks: str, albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    done = albor("-m", *PREPARE, "data.source.roots=[src]", "seed=1,2", f"hydra/launcher={launcher}")
    assert done.code == 2 and lacks in done.err and f"hydra/launcher={launcher}" in done.err


@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_what_slurm_refuses_is_not_the_latest_sweep(
    sweeper: str, albor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    write_corpus(tmp_path)
    before = sweeps.Sweep(name="sweep-1", command="c", created=1.0, points=(("a=1",),), runs=("x/a-1",))
    sweeps.save(tmp_path / "outputs", before)
    (tmp_path / "bin").mkdir()
    fake_slurm(tmp_path / "bin", "Invalid partition name specified")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    cluster = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=gold", f"hydra/sweeper={sweeper}")
    done = albor("-m", *PREPARE, "data.source.roots=[src]", "seed=1,2", *cluster)
    assert done.code == 2 and "--> hydra.launcher.partition=gold" in done.err, done.err
    assert sweeps.recorded(tmp_path / "outputs") == [before]


@pytest.mark.parametrize("address", [pytest.param("127.0.0.1:1", marks=RAY)])
def test_a_ray_cluster_that_is_down_is_said(address: str, place: Path) -> None:
    words = ("hydra/launcher=ray", f"hydra.launcher.address={address}")
    done = albor("-m", *PREPARE, "data.source.roots=[src]", "seed=1,2", *words, cwd=place)
    assert done.returncode == 2 and "no Ray cluster" in done.stderr and "hydra.launcher.address" in done.stderr


@pytest.mark.slow
def test_an_experiment_may_choose_its_launcher(albor, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    path = tmp_path / "own/experiment/grid.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# @package _global_\ndefaults: [override /hydra/launcher: joblib, override /stage: prepare]\n"
        "hydra: {mode: MULTIRUN, launcher: {n_jobs: 2}, sweeper: {params: {seed: '1,2'}}}\n"
    )
    words = ("--config-dir", "own", "experiment=grid", *PREPARE[:-1], "data.source.roots=[src]")
    done = albor(*words)
    assert done.code == 0 and "2 of 2 points done" in done.err, done.err
    assert len(list(tmp_path.glob("outputs/.sweeps/sweep-*/logs/*.log"))) == 2, "joblib's jobs have logs"
    path.with_name("typo.yaml").write_text(path.read_text().replace("n_jobs", "n_job"))
    assert "`hydra.launcher.n_jobs`" in albor(*words[:2], "experiment=typo", *words[3:]).err
    assert "hydra.launcher.n_job" in albor("validate", "--config-dir", "own").text


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    made = sweeps.Sweep(name="sweep-1", command="c", created=1.0, points=(("a=1",), ("a=2",)), runs=("x/a-1", "x/a-2"))
    sweeps.save(tmp_path, made)
    assert sweeps.recorded(tmp_path) == [made] and sweeps.latest(tmp_path) == made
    path = tmp_path / ".sweeps/sweep-1/sweep.json"
    path.write_text(json.dumps({"name": "sweep-1"}))
    with pytest.raises(Exception, match="record cannot be read") as caught:
        sweeps.latest(tmp_path)
    assert str(path) in str(getattr(caught.value, "place", ""))
    assert sweeps.latest(tmp_path / "nothing") is None
    assert sweeps.name_of(["b", "a", "a"]) == sweeps.name_of(["a", "b"]) != sweeps.name_of(["a"])
    assert [path.name for path in (tmp_path / ".sweeps").iterdir()] == ["sweep-1"]
