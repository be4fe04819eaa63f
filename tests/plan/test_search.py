"""Searches: what is asked of Optuna, what it is told, and that a search that was cut off goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from albor.config.problems import ConfigRefused
from albor.config.schema.sweep import OptunaSweeper
from albor.plan import sweep
from albor.plan.nodes import Planner
from albor.plan.search import make_sampler
from albor.plan.space import Space, read_space
from albor.runs import sweeps
from albor.runs.manifest import load
from tests.cluster.slurm import until
from tests.command import COMMAND, albor
from tests.small_corpus import TINY, write_corpus

SEARCH = ("-m", *TINY, "stage=tokenizer", "hydra/sweeper=optuna", "hydra.sweeper.metric=vocab_size")


def space_of(planner: Planner, *texts: str) -> Space:
    return read_space(sweep.space(planner, texts, {}))


def test_the_space_is_what_hydras_own_plugin_reads(planner: Planner) -> None:
    texts = ("optim.lr=tag(log, interval(1e-4, 1e-2))", "optim.weight_decay=interval(0, 0.2)", "seed=range(1, 10, 3)",
             "model=tiny,small", "model.num_hidden_layers=int(interval(2, 8))", "data.fim_rate=range(0, 1, 0.25)",
             "stage=pretrain")  # fmt: skip
    space = space_of(planner, *texts)
    assert space.fixed == ("stage=pretrain",)
    assert [d.distribution() for d in space.dimensions] == [
        FloatDistribution(1e-4, 1e-2, log=True),
        FloatDistribution(0, 0.2),
        IntDistribution(1, 7, step=3),
        CategoricalDistribution(("tiny", "small")),
        IntDistribution(2, 8),
        FloatDistribution(0, 0.75, step=0.25),
    ]
    corners = space.corners()
    assert len(corners) == 2**6 + 1 and len(set(corners)) == len(corners)
    assert all(text.startswith("stage=pretrain optim.lr=") for text in map(" ".join, corners))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optim.lr=interval(2, 1)", "from 2 to 1"),
        ("optim.lr=tag(log, interval(0, 1))", "log scale"),
        ("seed=3", "nothing to search over"),
    ],
)
def test_a_space_without_sense_is_refused(text: str, words: str, planner: Planner) -> None:
    with pytest.raises(ConfigRefused) as refused:
        space_of(planner, text)
    assert words in f"{refused.value.problems[0].cause} {refused.value.problems[0].help}"


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(0, 11))
def test_a_search_that_was_cut_off_asks_as_if_it_had_not_been(seed: int, trials: int, cut: int) -> None:
    sweeper = OptunaSweeper(seed=seed, n_startup_trials=4)

    def search(study: optuna.Study, until_: int) -> list[float]:
        while len(study.trials) < until_:
            study.sampler = make_sampler(sweeper, len(study.trials))
            trial = study.ask({"x": FloatDistribution(-1, 1)})
            study.tell(trial, (trial.params["x"] - 0.3) ** 2)
        return [trial.params["x"] for trial in study.trials]

    whole = search(optuna.create_study(), trials)
    begun = optuna.create_study()
    search(begun, min(cut, trials))
    copied = optuna.create_study()
    copied.add_trials(begun.trials)
    assert search(copied, trials) == whole
    assert len(set(whole)) == len(whole), "no trial is drawn twice"


@pytest.mark.slow
def test_a_search_finds_goes_on_and_compares(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    sizes = ("tokenizer.vocab_size=int(interval(300, 350))", "hydra.sweeper.n_startup_trials=2")
    words = (*(word for word in SEARCH if "vocab_size=350" not in word), *sizes)
    first = albor(*words, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert first.returncode == 0 and "2 of 2 trials done" in first.stderr, first.stderr
    more = albor(*words, "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", cwd=tmp_path)
    assert more.returncode == 0 and "4 trials: 2 done" in more.stderr and "4 of 4 trials done" in more.stderr
    rows = [line.split() for line in more.stdout.splitlines()[1:]]
    values = [float(row[3]) for row in rows]
    assert values == sorted(values) and all(300 <= value <= 350 for value in values), "the best first"
    assert all(row[1] == f"tokenizer.vocab_size={int(float(row[3]))}" for row in rows)
    record = sweeps.latest(tmp_path / "outputs")
    assert record is not None and record.name.startswith("search-") and len(record.runs) == 4
    told = albor("compare", record.name, "--markdown", cwd=tmp_path)
    assert "there is no run" not in told.stderr, "the command that a search prints is one"
    assert {load(path).group for path in record.directories(tmp_path / "outputs")} == {record.name}
    wrong = albor(*words, "hydra.sweeper.metric=vocab_sise", "hydra.sweeper.n_trials=1", cwd=tmp_path)
    assert (
        wrong.returncode == 2
        and "did you mean hydra.sweeper.metric=vocab_size?" in wrong.stderr
        and "Traceback" not in wrong.stderr
    )
    assert "0 of 1 trial done" in wrong.stderr
    narrow = (*SEARCH, "tokenizer.vocab_size=320,321", "hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=5")
    again = albor(*narrow, cwd=tmp_path)
    assert again.returncode == 0 and "known already" in again.stderr, "a point that is drawn twice is made once"
    stored = albor(*words, "hydra.sweeper.storage=sqlite:////nowhere/at/all.db", cwd=tmp_path)
    assert stored.returncode == 2 and "storage" in stored.stderr and "Traceback" not in stored.stderr


def test_corners_that_are_refused_stop_a_search_before_it_starts(albor, tmp_path: Path) -> None:
    done = albor("-m", "stage=pretrain", "tracking=none", "hydra/sweeper=optuna", "optim.lr=interval(-1e-3, 1e-3)")
    assert done.code == 2 and "E-RANGE" in done.err and "nothing was started" in done.err
    done = albor("-m", "stage=pretrain", "tracking=none", "hydra/sweeper=optuna", "seed=interval(1, 3)")
    assert done.code == 2 and "whole number" in done.err
    assert list(tmp_path.iterdir()) == []


def test_without_optuna_a_search_says_what_to_install(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    done = albor("-m", "stage=pretrain", "hydra/sweeper=optuna", "seed=1,2")
    assert done.code == 2 and 'pip install "albor[sweep]"' in done.err


TRAIN = ("-m", *TINY, "stage=pretrain", "trainer.max_steps=400", "trainer.epochs=60", "trainer.val_every=20",
         "trainer.save_every=400", "hydra/sweeper=optuna", "optim.lr=1e-6,2e-6,1e-2", "hydra.sweeper.sampler=random",
         "hydra.sweeper.metric=val_loss")  # fmt: skip


@pytest.mark.slow
def test_a_trial_that_falls_behind_is_pruned_and_a_killed_search_goes_on(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    words = (*TRAIN, "hydra.sweeper.pruner=median", "hydra.sweeper.n_startup_trials=1", "hydra.sweeper.n_trials=6")
    search = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: any(p.read_text().count("\n") > 50 for p in tmp_path.glob("outputs/pretrain/*/metrics.jsonl")), 180)
    search.kill()
    search.communicate()
    cut = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: "done" in {load(p).status for p in tmp_path.glob("outputs/pretrain/*")}, 180)
    cut.send_signal(signal.SIGINT)
    _, said = cut.communicate(timeout=60)
    assert cut.returncode == 75 and "1 to go on with" in said, said
    done = albor(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (place,) = (tmp_path / "outputs/.sweeps").glob("search-*")
    study = optuna.load_study(study_name=place.name, storage=f"sqlite:///{place / 'study.db'}")
    states = [trial.state.name for trial in study.trials]
    assert len(states) == 6 and set(states) <= {"COMPLETE", "PRUNED"}
    best = study.best_trial
    assert float(best.params["optim.lr"]) == 1e-2
    assert all(trial.intermediate_values for trial in study.trials if trial.state.name == "PRUNED")


@pytest.mark.slow
def test_a_trial_that_failed_is_tried_again_by_the_next_call(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    words = (*TRAIN, "hydra.sweeper.n_trials=2")
    search = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until(lambda: any(p.read_text().count("\n") > 5 for p in tmp_path.glob("outputs/pretrain/*/metrics.jsonl")), 180)
    (lock,) = tmp_path.glob("outputs/pretrain/*/.lock")
    os.kill(int(lock.read_text()), signal.SIGABRT)
    _, said = search.communicate(timeout=120)
    assert search.returncode == 0 and "killed by SIGABRT" in said and "1 of 2 trials done" in said, said
    (log,) = (file for file in tmp_path.glob("outputs/.sweeps/*/logs/*.log") if "SIGABRT" in file.read_text())
    assert "Fatal Python error: Aborted" in log.read_text(), "it says where it was"
    again = albor(*words, cwd=tmp_path)
    assert "2 trials: 1 done, 0 to go on with, 1 to try again" in again.stderr
    assert again.returncode == 0 and "2 of 2 trials done" in again.stderr, again.stderr
    assert {load(p).status for p in tmp_path.glob("outputs/pretrain/*")} == {"done"}
    last = albor(*words, cwd=tmp_path)
    assert "2 trials: 2 done, 0 to go on with\n" in last.stderr
