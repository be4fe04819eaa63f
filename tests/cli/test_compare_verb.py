"""``albor compare`` on stores: what it chooses, prints, writes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from albor.evals import journal
from albor.runs import manifest
from albor.runs.manifest import InputRef, Manifest
from bench.compare import pretrained, sweep_of, upstream, write_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A sweep of two learning rates and two seeds, in the working directory's store."""
    root = tmp_path / "outputs"
    inputs = upstream(root)
    sweep_of(root, [pretrained(root, inputs, lr=lr, seed=seed) for lr in (1e-3, 5e-3) for seed in (0, 1)])
    return root


def name_of(store: Path) -> str:
    return next((store / ".sweeps").iterdir()).name


def runs_of(store: Path) -> list[Manifest]:
    return [manifest.load(path.parent) for path in sorted(store.glob("pretrain/*/manifest.yaml"))]


def evaluate(store: Path, model: Manifest, losses: list[float], passing: int) -> str:
    """An evaluation of a run's model: its rows' losses, and how many of 20 problems pass; gives its id."""
    own = model.id[:10]
    ref = InputRef(stage=model.stage, id=model.id, path=f"../../{model.stage}/{model.label}-{model.id}/artifact")
    rows = InputRef(stage="pack", id="c" * 12, path="../../pack/x-cccccccccccc/artifact", digest="d")
    said = Manifest(stage="generate", version=1, id=f"{own}a0", label="t", status="done", command="",
                    config={"eval": {}}, inputs={"model": ref, "rows": rows})  # fmt: skip
    place = write_run(store, said) / "artifact"
    journal.write(place / "rows.jsonl", [{"row": i, "nll": 9 * v, "tokens": 9} for i, v in enumerate(losses)])
    value = {"value": passing / 20, "low": 0.0, "high": 1.0}
    facts = {"val_loss": sum(losses) / len(losses), "val_ppl": 2.0, "val_bits_per_byte": 1.0,
             "scores": {"humaneval": {"problems": 20, "samples": 1, "pass@1": value}}}  # fmt: skip
    given = InputRef(stage="generate", id=said.id, path=f"../../generate/t-{said.id}/artifact")
    made = replace(said, stage="eval", id=f"{own}e0", inputs={"generations": given}, facts=facts)
    place = write_run(store, made) / "artifact"
    verdicts = [{"problem": f"p{i}", "sample": 0, "verdict": "passed" if i < passing else "failed"} for i in range(20)]
    journal.write(place / "generations/humaneval.jsonl", verdicts)
    journal.write(place / "samples.jsonl", [{"prompt": "def f(", "completion": model.id}])
    return made.id


def test_the_latest_sweep_is_compared(albor, store: Path) -> None:
    done = albor("compare")
    assert done.code == 0 and done.out.startswith("lr=0.001 has the lowest val_loss: ")
    lines = [line.split() for line in done.out.splitlines()[2:]]
    assert [line[:2] for line in lines] == [["lr=0.001", "2"], ["lr=0.005", "2"]]
    page = store / ".compare" / name_of(store) / "index.html"
    assert f"written: outputs/.compare/{name_of(store)}/index.html" in done.err
    assert "4 runs of 2 configs compared" in page.read_text() and page.stat().st_size < 400_000
    assert albor("compare", name_of(store)).out == done.out


def test_runs_are_named_as_everywhere(albor, store: Path) -> None:
    one, other = runs_of(store)[:2]
    done = albor("compare", one.id[:6], f"outputs/pretrain/tiny-{other.id}", "--out", "somewhere/page.html")
    assert done.code == 0 and "written: somewhere/page.html" in done.err
    assert one.id in Path("somewhere/page.html").read_text()
    assert albor("compare", one.id).out.count("tiny") == 2


def test_without_a_sweep_all_that_trained_are_compared(albor, store: Path) -> None:
    for path in (store / ".sweeps").rglob("*.json"):
        path.unlink()
    done = albor("compare")
    assert done.code == 0 and "outputs/.compare/all/index.html" in done.err and "lr=0.005" in done.out
    told = albor("compare", "--markdown").out.split("```sh\n")[1].split("\n")[0]
    assert set(told.split()) == {"albor", "compare", *(f"tiny-{run.id}" for run in runs_of(store))}


def test_markdown_is_printed_and_nothing_written(albor, store: Path) -> None:
    done = albor("compare", "--markdown")
    assert done.code == 0 and done.out.startswith("### 4 runs of 2 configs compared\n")
    assert "| **lr=0.001** | 2 |" in done.out and f"sh\nalbor compare {name_of(store)}\n" in done.out
    assert not (store / ".compare").exists() and not done.err


def test_a_baseline_is_held_against(albor, store: Path) -> None:
    worse = next(run for run in runs_of(store) if run.config["optim"]["lr"] == 5e-3)
    done = albor("compare", "--baseline", worse.id[:8])
    assert "Against the baseline, lr=0.005, that is" in done.out
    refused = albor("compare", name_of(store), "--baseline", pretrained(store, upstream(store), lr=1e-2, seed=7).id)
    assert refused.code == 2 and "none of the compared runs" in refused.err


def test_evaluations_bring_scores_samples_and_pairs(albor, store: Path) -> None:
    one, other = sorted(runs_of(store), key=lambda run: (run.config["seed"], run.config["optim"]["lr"]))[:2]
    evaluate(store, one, [3.0 + 0.01 * i for i in range(30)], 15)
    evaluation = evaluate(store, other, [3.2 + 0.011 * i for i in range(30)], 2)
    done = albor("compare", one.id, evaluation)  # an evaluation stands for the run that trained
    assert done.code == 0 and "On the same 30 evaluated rows the loss of its model is 0.2145 nats higher" in done.out
    told = albor("compare", one.id, evaluation, "--markdown").out
    assert "| lr=0.005 | lr=0.001 | humaneval | 20 | −65.0 (" in told
    page = next((store / ".compare").glob("runs-*/index.html")).read_text()
    assert "completed by each config" in page and "humaneval pass@1" in page


def test_what_is_not_done_is_told_as_far_as_it_came(albor, store: Path) -> None:
    inputs, other = upstream(store), runs_of(store)[0]
    torn = pretrained(store, inputs, lr=1e-2, seed=0, steps=30, every=10, status="interrupted")
    log = store / f"pretrain/tiny-{torn.id}/metrics.jsonl"
    log.write_text(log.read_text()[:-20])
    done = albor("compare", torn.id, other.id)
    assert done.code == 0 and "(interrupted)" in done.out
    assert "warning[E-COMPARE] lr=0.01 max_steps=30 (interrupted) is not finished: its figures" in done.err
    page = next((store / ".compare").glob("runs-*/index.html")).read_text()
    assert "cannot be read" in page and "is not finished" in page


def test_what_a_run_recorded_when_it_was_done_goes_before_its_log(albor, store: Path) -> None:
    one = runs_of(store)[0]
    directory = store / f"pretrain/tiny-{one.id}"
    assert "warning" not in albor("compare", one.id).err
    manifest.save(directory, replace(one, facts={**one.facts, "val_loss": 1.25}))
    done = albor("compare", one.id)
    assert done.out.startswith("pretrain/tiny has the lowest val_loss: 1.2500.")
    assert "pretrain/tiny (val_loss " in done.err and ", 1.2500 recorded)" in done.err
    manifest.save(directory, replace(one, facts={**one.facts, "val_loss": 1.25}, status="failed"))
    assert "1.2500" not in albor("compare", one.id).text


def test_a_run_took_as_long_as_runs_says(albor, store: Path) -> None:
    one = runs_of(store)[0]
    resumed = replace(one, started=10.0, finished=30.0, facts={**one.facts, "seconds": 80.0})
    manifest.save(store / f"pretrain/tiny-{one.id}", resumed)
    assert "1 min 20 s" in albor("compare", one.id, "--markdown").out
    (line,) = [line for line in albor("runs", "pretrain").out.splitlines() if one.id in line]
    assert line.endswith("  80 s")


@pytest.mark.parametrize(
    ("text", "cause"),
    [("schema: [", "the manifest is not readable"), ("schema: 9\n", "a manifest of schema 9; this albor reads 1")],
)
def test_a_manifest_that_cannot_be_read_is_not_gone(text: str, cause: str, albor, store: Path) -> None:
    first, *others = runs_of(store)
    place = f"outputs/pretrain/tiny-{first.id}"
    (store.parent / place / "manifest.yaml").write_text(text)
    done = albor("compare")
    assert done.code == 0 and done.err.count(f"left out: {place}: {cause}") == 1 and "is gone" not in done.err
    for run in others:
        (store / f"pretrain/tiny-{run.id}/manifest.yaml").unlink()
    done = albor("compare")
    assert done.code == 2 and done.err.count("was not started, or is gone") == 3 and "can be compared" in done.err


def test_a_run_without_a_log_is_named_and_left_out(albor, store: Path) -> None:
    planned = pretrained(store, upstream(store), lr=1e-2, seed=0, status="planned")
    (store / f"pretrain/tiny-{planned.id}/metrics.jsonl").write_text("")
    done = albor("compare", planned.id, runs_of(store)[0].id)
    assert done.code == 0 and f"left out: tiny-{planned.id}: planned, and has logged no loss" in done.err
    alone = albor("compare", planned.id)
    assert alone.code == 2 and "none of the 1 run has logged a loss" in alone.err


def test_what_cannot_be_compared_is_refused_with_its_cause(albor, store: Path, tmp_path: Path) -> None:
    one = runs_of(store)[0]
    (tmp_path / "empty").mkdir()
    for words, cause in (
        ((f"tinny-{one.id}",), f"did you mean tiny-{one.id}?"),
        (("sweep-00000000",), f"its sweeps are {name_of(store)}"),
        (("c" * 12,), "did not train, and no run that did is upstream of it"),
        (("outputs=empty",), "the store holds no run that has logged a loss"),
        (("outputs=nowhere",), "there is no directory nowhere"),
        (("optim.lr=1",), "does not concern the runs in the store"),
        ((one.id, "--baseline", "nobody"), "there is no run 'nobody'"),
    ):
        done = albor("compare", *words)
        assert done.code == 2 and cause in done.err, words
    assert not (store / ".compare").exists()
    (tmp_path / "file").write_text("")
    done = albor("compare", "--out", "file/page.html")
    assert done.code == 1 and "choose another place: --out FILE" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_is_only_read(albor, store: Path, tmp_path: Path) -> None:
    store.chmod(0o555)
    try:
        done = albor("compare")
        assert done.code == 1 and "--out FILE" in done.err
        assert albor("compare", "--out", str(tmp_path / "page.html")).code == 0
    finally:
        store.chmod(0o755)


def test_too_many_runs_are_refused(albor, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albor.cli.choosing.MOST", 3)
    assert "4 runs are more than a page of curves can hold apart" in albor("compare").err
    monkeypatch.setattr("albor.cli.choosing.UNASKED", 3)
    for path in (store / ".sweeps").rglob("*.json"):
        path.unlink()
    assert "4 runs have trained here, and none was named" in albor("compare").err


def test_settings_upstream_make_another_config(albor, store: Path) -> None:
    """Rows packed with another rate of holes: the run's own config does not say so, its rows' does."""
    one = runs_of(store)[0]
    pack = manifest.load(store / "pack/x-cccccccccccc")
    data = {**pack.config["data"], "fim_rate": 0.9}
    write_run(store, replace(pack, id="f" * 12, config={**pack.config, "data": data}))
    rows = replace(one.inputs["rows"], id="f" * 12, path="../../pack/x-ffffffffffff/artifact")
    twin = replace(one, id="0123456789ab", inputs={**one.inputs, "rows": rows})
    lines = (store / f"pretrain/tiny-{one.id}/metrics.jsonl").read_text().splitlines()
    write_run(store, twin, [json.loads(line) for line in lines])
    done = albor("compare", one.id, twin.id, "--markdown")
    assert "| data.fim_rate | 0.5 | 0.9 |" in done.out or "| up.pack.data.fim_rate |" in done.out


def test_the_same_as_a_report_of_weights_and_biases(albor, store, monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = albor("compare", "--wandb")
    path = store / ".compare" / name_of(store) / "wandb-report.json"
    assert done.code == 0 and "not logged in to W&B" in done.err and str(path.relative_to(tmp_path)) in done.err
    report = json.loads(path.read_text())
    assert report["displayName"] == f"4 runs of 2 configs compared: {name_of(store)}"
    grids = [block for block in report["spec"]["blocks"] if block["type"] == "panel-grid"]
    runs = grids[0]["metadata"]["runSets"][0]
    assert sorted(runs["filters"]["filters"][0]["value"]) == sorted(run.id for run in runs_of(store))
    drawn = [panel["config"]["metrics"] for panel in grids[0]["metadata"]["panelBankSectionConfig"]["panels"]]
    assert ["val_loss"] in drawn and ["loss"] in drawn
    text = json.dumps(report)
    assert "artifacts and lineage" in text and "**lr=0.001**" in text and "Run Comparer" in text


def test_without_the_package_the_error_says_what_to_install(albor, store, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    done = albor("compare", "--wandb")
    assert done.code == 2 and "albor[report]" in done.err


def test_comparing_imports_no_torch(store: Path, tmp_path: Path) -> None:
    probe = (
        "import sys; from albor.cli.main import run; assert run(['compare']) == 0; "
        "assert not {'torch', 'lightning', 'wandb', 'transformers', 'pandas'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
