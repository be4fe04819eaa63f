"""Sweeps, stages and interrupted trainings on a real Slurm of two nodes: what comes out is what comes out here."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from albor.runs import sweeps
from albor.runs.manifest import Manifest, load
from tests.cluster.slurm import NEEDS_SLURM, put_back, until
from tests.command import COMMAND, succeeds
from tests.command import albor as command
from tests.small_corpus import TINY, write_corpus
from tests.test_ladder import RUNGS, SMALL

pytestmark = [*NEEDS_SLURM, pytest.mark.usefixtures("slurm")]

ON_SLURM = ("executor=slurm", "executor.memory=1GB", "executor.workers=2")
LONG = (
    "stage=pretrain",
    "trainer.max_steps=200",
    "trainer.epochs=60",
    "trainer.val_every=100",
    "trainer.save_every=150",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_corpus(tmp_path)
    return tmp_path


def digests(store: Path, stage: str) -> dict[str, str | None]:
    return {run.id: run.digest for path in store.glob(f"{stage}/*") if (run := load(path)).status == "done"}


def runs(store: Path, stage: str) -> list[Manifest]:
    return [load(path) for path in store.glob(f"{stage}/*")]


def test_a_sweep_is_an_array_and_equals_a_local_one(place: Path) -> None:
    points = ("-m", *TINY, "stage=tokenizer", "seed=1,2")
    there = command(*points, "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=5", cwd=place)
    assert there.returncode == 0, there.stderr
    assert "2 of 2 points done" in there.stderr and "[2/2] tokenizer/" in there.stderr
    again = command(*points, "hydra/launcher=submitit_slurm", cwd=place)
    assert again.returncode == 0 and "2 points: 0 to run, 2 done" in again.stderr
    succeeds(*points, "outputs=here", cwd=place)
    assert len(digests(place / "here", "tokenizer")) == 2
    for stage in ("prepare", "tokenizer"):
        assert digests(place / "outputs", stage) == digests(place / "here", stage)
    (group,) = {run.group for run in runs(place / "outputs", "tokenizer")}
    assert group.startswith("sweep-"), "a group of its own for each sweep"
    record = sweeps.latest(place / "outputs")
    assert record is not None and record.name == group
    (script,) = place.glob(f"outputs/.sweeps/{group}/jobs/array-*.sh")
    assert script.read_text().count("albor.cli.job") == 2


def test_what_slurm_refuses_is_told_with_where_it_is_set(place: Path) -> None:
    words = ("-m", *TINY, "stage=tokenizer", "seed=1,2", "hydra/launcher=submitit_slurm")
    nowhere = command(*words, "hydra.launcher.partition=nowhere", cwd=place)
    assert nowhere.returncode == 2 and "--> hydra.launcher.partition=nowhere" in nowhere.stderr, nowhere.stderr
    assert "invalid partition" in nowhere.stderr.lower() and "scontrol show partition" in nowhere.stderr
    at_once = command(*words, "hydra.launcher.timeout_min=2", cwd=place)
    assert at_once.returncode == 2 and "--> hydra.launcher.timeout_min" in at_once.stderr
    chain = command(*TINY, "stage=tokenizer", *ON_SLURM, "executor.stages.time=2min", cwd=place)
    assert chain.returncode == 2 and "--> executor.stages.time" in chain.stderr, chain.stderr


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *TINY, *words], cwd=place, stderr=subprocess.PIPE, text=True)


def under_way(place: Path, steps: int) -> str:
    """The Slurm job of a training that has made so many steps."""

    def logged() -> bool:
        files = list(place.glob("outputs/pretrain/*/metrics.jsonl"))
        return bool(files) and len(files[0].read_text().splitlines()) > steps

    until(logged, 120)
    listed = subprocess.run(["squeue", "--me", "-h", "-o", "%i %j"], capture_output=True, text=True, check=True).stdout
    (job,) = [line.split()[0] for line in listed.splitlines() if "tiny-" in line]
    return job


@pytest.mark.parametrize(
    "ranks",
    [
        pytest.param((), marks=pytest.mark.slow),
        pytest.param(("trainer.devices=2", "trainer.micro_batch_size=1"), marks=pytest.mark.slow),
        pytest.param(("trainer.nodes=2", "trainer.micro_batch_size=1"), marks=pytest.mark.slow),
    ],
    ids=["one rank", "two ranks under srun", "two nodes"],
)
def test_a_job_that_slurm_interrupts_saves_and_goes_on_to_the_same_bits(ranks: tuple[str, ...], place: Path) -> None:
    driver = start(place, *LONG, *ranks, *ON_SLURM)
    job = under_way(place, steps=20)
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    put_back(job)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    (log,) = place.glob("outputs/.sweeps/tiny-*/logs/tiny-*.log")
    for words in ("saved after step", f"Slurm starts job {job} again", "goes on from the checkpoint of step"):
        assert words in log.read_text()
    here = [word.replace("nodes", "devices") for word in ranks]
    succeeds(*TINY, *LONG, *here, "outputs=here", cwd=place)
    assert [r.digest for r in runs(place / "here", "pretrain")] == [
        r.digest for r in runs(place / "outputs", "pretrain")
    ]
    assert digests(place / "outputs", "pack") == digests(place / "here", "pack")


@pytest.mark.slow
def test_a_cancelled_job_is_a_failure_that_is_told_and_gone_on_from(place: Path) -> None:
    driver = start(place, *LONG, *ON_SLURM)
    job = under_way(place, steps=20)
    subprocess.run(["scancel", job], check=True)
    _, said = driver.communicate(timeout=120)
    assert driver.returncode != 0 and "pretrain/tiny-" in said
    done = command(*TINY, *LONG, *ON_SLURM, cwd=place)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_jobs_outlive_the_process_that_submitted_them_and_are_taken_up_again(place: Path) -> None:
    driver = start(place, *LONG, *ON_SLURM)
    job = under_way(place, steps=20)
    driver.kill()
    driver.communicate()
    done = command(*TINY, *LONG, *ON_SLURM, cwd=place)
    assert done.returncode == 0 and f"Slurm job {job}" in done.stderr, done.stderr
    (log,) = place.glob("outputs/.sweeps/tiny-*/logs/tiny-*.log")
    assert "goes on" not in log.read_text(), "it was never interrupted"


@pytest.mark.slow
def test_ctrl_c_has_the_jobs_save_and_a_plain_batch_job_puts_itself_back(place: Path) -> None:
    driver = start(place, *LONG, *ON_SLURM)
    under_way(place, steps=20)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 75 and "the jobs save" in said and "interrupted" in said
    assert runs(place / "outputs", "pretrain")[0].status == "interrupted"
    # A script of the user's own, as they write it.
    (place / "job.sh").write_text(f"#!/bin/bash\nexec {' '.join([*COMMAND, *TINY, *LONG])}\n")
    asked = ("--parsable", "--job-name=tiny-own", "--requeue", "--open-mode=append", "--output=own.log", "job.sh")
    submitted = subprocess.run(["sbatch", *asked], cwd=place, capture_output=True, text=True, check=True)
    job = submitted.stdout.strip()
    assert under_way(place, steps=60) == job
    subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
    put_back(job)
    until(lambda: runs(place / "outputs", "pretrain")[0].status == "done", 120)
    assert f"Slurm starts job {job} again" in (place / "own.log").read_text()


@pytest.mark.slow
def test_a_whole_ladder_as_jobs(place: Path) -> None:
    there = command(*SMALL, *ON_SLURM, "executor.workers=1", cwd=place)
    assert there.returncode == 0, there.stderr
    (ladder,) = runs(place / "outputs", "ladder")
    assert ladder.status == "done" and list(ladder.facts["rungs"]) == list(RUNGS)
    succeeds(*SMALL, "outputs=here", cwd=place)
    for stage in ("pack", *RUNGS.values()):
        assert digests(place / "outputs", stage) == digests(place / "here", stage), stage


@pytest.mark.slow
def test_detached_jobs_are_left_to_slurm(place: Path) -> None:
    words = (*TINY, "stage=tokenizer", *ON_SLURM)
    left = command(*words, "--detach", cwd=place)
    assert left.returncode == 0 and "squeue --me" in left.stderr
    assert runs(place / "outputs", "tokenizer")[0].status in ("planned", "running")
    waited = command(*words, cwd=place)
    assert waited.returncode == 0, waited.stderr
    assert runs(place / "outputs", "tokenizer")[0].status == "done"
    refused = command(*TINY, "stage=tokenizer", "--detach", cwd=place)
    assert refused.returncode == 2 and "executor=slurm" in refused.stderr
