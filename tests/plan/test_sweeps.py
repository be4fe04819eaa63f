"""Sweeps: expanded as Hydra expands them, judged whole before the first job, run once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from albor.config.location import conf_directory
from albor.config.problems import ConfigRefused
from albor.plan import sweep
from albor.plan.nodes import Planner
from tests.command import albor

SMALL = ("debug=default", "tracking=none", "stage=tokenizer", "tokenizer.vocab_size=300", "data.max_documents=20")


@pytest.fixture(scope="module")
def hydra() -> Iterator[OverridesParser]:
    with initialize_config_dir(str(conf_directory()), version_base="1.3"):
        yield OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


@pytest.mark.parametrize(
    "texts",
    [
        ["seed=1,2,3"],
        ["seed=1,2", "optim.lr=1e-3,3e-4", "stage=pretrain"],
        ["seed=range(1,5)", "stage=pretrain"],
        ["optim.lr=range(1e-4,11e-4,1e-4)"],
        ["seed=choice(4,5)", "trainer.precision=choice(float32,bf16)"],
        ["model=tiny,50m", "+name=choice('a b','c,d')"],
        ["model=glob(*,exclude=*m)"],
        ["model=glob([t*,s*])"],
        ["seed=sort(3,1,2)"],
        ["optim.betas=[0.9,0.95],[0.8,0.9]", "++eval.prompts=[x],[y]"],
        ["data={fim_rate: 0},{fim_rate: 1}"],
        ["seed=1"],
        [],
    ],
    ids=" ".join,
)
def test_expands_as_hydra(texts: list[str], hydra: OverridesParser, planner: Planner) -> None:
    batches = BasicSweeper.split_arguments(hydra.parse_overrides(list(texts)), max_batch_size=None)
    stage = () if "stage=pretrain" in texts else ("stage=pretrain",)
    assert sweep.points(planner, texts) == [(*stage, *point) for batch in batches for point in batch]


@pytest.mark.parametrize(
    ("texts", "points"),
    [
        (["optim=muon", "optim={lr: 1e-2}"], [("optim=muon", "optim={lr: 1e-2}")]),
        (["optim={lr: 1e-2}", "optim={zclip: 2}"], [("optim={lr: 1e-2}", "optim={zclip: 2}")]),
        (
            ["optim=muon,adamw", "optim={lr: 1e-2}"],
            [("optim=muon", "optim={lr: 1e-2}"), ("optim=adamw", "optim={lr: 1e-2}")],
        ),
        (["optim=muon", "optim={lr: 1},{lr: 2}"], [("optim=muon", "optim={lr:1}"), ("optim=muon", "optim={lr:2}")]),
        (["seed=1,2", "seed=3"], [("seed=3",)]),
        (["seed=3", "seed=1,2"], [("seed=1",), ("seed=2",)]),
    ],
)
def test_a_choice_and_values_for_it_both_hold(
    texts: list[str], points: list[tuple[str, ...]], planner: Planner
) -> None:
    """Hydra's own sweeper would drop the choice."""
    assert sweep.points(planner, texts) == [("stage=pretrain", *point) for point in points]


@pytest.mark.parametrize(
    ("texts", "stage"),
    [
        (["seed=1,2"], "pretrain"),
        (["stage=finetune", "seed=1,2"], "finetune"),
        (["stage=pack,tokenizer"], "pack"),
        (["up.distill.optim.lr=1,2"], "ladder"),
        (["experiment=speedrun", "seed=1,2"], "pretrain"),
    ],
    ids=str,
)
def test_a_sweep_is_of_trainings_unless_it_says_otherwise(texts: list[str], stage: str, planner: Planner) -> None:
    assert planner.plan(sweep.points(planner, texts)[0]).target.stage.name == stage


def test_the_points_of_a_sweep_lie_in_one_store(albor, tmp_path: Path) -> None:
    done = albor("-m", *SMALL, "outputs=here,there")
    assert done.code == 2 and "not in here and there" in done.err and list(tmp_path.iterdir()) == []


def test_a_glob_reaches_nested_choices(planner: Planner) -> None:
    """Hydra's own matches nothing here, and would run nothing."""
    versions = [f"experiment=original/{v}" for v in ("v1", "v1_fixed", "v2", "v3", "v4")]
    assert [p for (p,) in sweep.points(planner, ["experiment=glob(original/*)"])] == versions
    everything = ["experiment=best", *versions, "experiment=speedrun", "experiment=speedrun_50m"]
    assert [p for (p,) in sweep.points(planner, ["experiment=glob(*)"])] == everything
    assert [p for (p,) in sweep.points(planner, ["experiment=glob(original/*,exclude=*v1*)"])] == versions[2:]


def test_a_sweep_without_points_is_refused(albor) -> None:
    for words in (["-m"], ["validate", "-m"]):
        done = albor(*words, "model=glob(nothing*)")
        assert done.code == 2 and "glob matches nothing" in done.err


def test_points_are_planned(planner: Planner) -> None:
    texts = ["stage=pretrain", "model=tiny,small", "optim.lr=range(1e-3,4e-3,1e-3)"]
    expanded = sweep.points(planner, texts)
    made = sweep.preflight(planner, expanded)
    assert len(expanded) == len(made.plans) == 6 and made.refused == []
    assert len({p.target.id for p in made.plans}) == 6
    assert len({p.nodes[0].id for p in made.plans}) == 1
    alone = [Planner(planner.resolver).plan(texts).target.id for texts in expanded]
    assert alone == [p.target.id for p in made.plans]


def test_history_as_a_sweep(planner: Planner) -> None:
    made = sweep.preflight(planner, sweep.points(planner, ["experiment=glob(original/*)"]))
    assert [bool(p.errors) for p in made.plans] == [True, False, False, True, False]


def test_an_experiment_may_be_a_sweep(albor, tmp_path: Path) -> None:
    path = tmp_path / "own" / "experiment" / "grid.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# @package _global_\ndefaults: [override /stage: pretrain]\noptim: {eps: 1e-7}\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {optim.lr: '1e-3,2e-3', seed: 'range(0,3)'}}}\n"
    )
    done = albor("validate", "-m", "--config-dir", "own", "experiment=grid", "model=tiny,small")
    assert done.code == 0 and "12 points" in done.out
    path.with_name("bad.yaml").write_text(path.read_text().replace("2e-3", "fast"))
    for words in (["-m"], []):
        done = albor(*words, "--config-dir", "own", "experiment=bad", "tracking=none")
        assert done.code == 2
        assert "refused: 3 of 6 points" in done.err and "fast" in done.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_one_bad_point_of_many_stops_all(verb: str, albor, tmp_path: Path) -> None:
    words = ["-m", "stage=pretrain", "seed=range(0,100)", "tracking=none"]
    head = [] if verb == "run" else ["validate"]
    done = albor(*head, *words, "optim.lr=1e-3,-1")
    assert done.code == 2
    assert "refused: 100 of 200 points; nothing was started" in done.err
    assert done.err.count("error[E-RANGE]") == 1 and "99 more points" in done.err
    done = albor(*head, *words[:2], "optim.lr=1e-3", "trainer.precision=" + ",".join(["float32"] * 199 + ["fp8"]))
    assert done.code == 2 and "refused: 1 of 200 points" in done.err
    done = albor(*head, "-m", "stage=pretrain", "model=tiny,50n", "optim.lr=1e-3,3e-4")
    assert done.code == 2 and "`model=50m`" in done.err and "refused: 2 of 4 points" in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_cannot_be_read(planner: Planner) -> None:
    with pytest.raises(ConfigRefused) as refused:
        sweep.points(planner, ["seed=range(1", "optim.lr=choice("])
    assert [p.path for p in refused.value.problems] == ["seed=range(1", "optim.lr=choice("]


def test_a_small_sweep_runs_and_then_has_nothing_to_do(
    tmp_path: Path, planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return albor("-m", *SMALL, *words, cwd=tmp_path)

    first = call("seed=1,2")
    assert first.returncode == 0, first.stderr
    assert "2 points: 2 to run, 0 done" in first.stderr
    runs = sorted((tmp_path / "outputs").glob("*/*/manifest.yaml"))
    manifests = {p: yaml.safe_load(p.read_text()) for p in runs}
    assert [m["stage"] for m in manifests.values()] == ["prepare"] * 2 + ["tokenizer"] * 2
    assert {m["status"] for m in manifests.values()} == {"done"}
    assert {m["config"]["seed"] for m in manifests.values()} == {1, 2}
    before = {p: p.stat().st_mtime_ns for p in runs}
    again = call("seed=1,2,1")
    assert again.returncode == 0 and "2 points: 0 to run, 2 done" in again.stderr
    for done in (first, again):
        table = [line.split() for line in done.stdout.splitlines()[-2:]]
        assert [(words[0], words[2], words[3]) for words in table] == [
            (f"seed={n}", "done", "vocab_size") for n in (1, 2)
        ]
    assert {p: p.stat().st_mtime_ns for p in runs} == before
    more = call("seed=2,3")
    assert more.returncode == 0 and "2 points: 1 to run, 1 done" in more.stderr
    assert not list(tmp_path.rglob(".hydra")) and not (tmp_path / "multirun").exists()
    monkeypatch.chdir(tmp_path)
    states = [
        Planner(planner.resolver, from_nothing=new).plan((*SMALL, "seed=3")).target.state for new in (False, True)
    ]
    assert states == ["done", "new"], "what the gate sees is the config alone"
