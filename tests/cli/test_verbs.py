"""The verbs: what they print, and that machines can read it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from albor.cli.arguments import FLAGS, VERBS, WORDS, Arguments
from albor.cli.completion import answers
from albor.cli.verbs.fit import propose
from albor.config.docstrings import field_docs
from albor.config.location import conf_directory, options
from albor.config.problems import CODES
from albor.config.schema.config import Config
from albor.config.sections import Structurer
from albor.contracts import CONTRACTS, RULES
from albor.contracts.base import RECOVERY, Case
from albor.errors import AlborError
from albor.plan.apply import prepare
from albor.plan.keys import Key, keys, walk
from albor.runs import manifest
from albor.stages import base as stages
from bench.compare import write_run
from bench.typos import context


@pytest.mark.parametrize("key", keys())
def test_every_key_is_explained(key: str, albor) -> None:
    done = albor("explain", key)
    assert done.code == 0
    assert all(f"  {word} " in done.out for word in ("type", "default", "schema"))
    assert len(keys()[key].help) > 8, f"{key} has no docstring"


def test_every_contract_and_code_is_explained(albor) -> None:
    for word in (*RULES, *CODES):
        done = albor("explain", word.lower())
        assert done.code == 0 and done.out.startswith(word)
        assert len(done.out) > 50
    for contract in CONTRACTS.values():
        assert contract.title and contract.formula and set(contract.stages) <= {*stages.names(), RECOVERY}


def test_the_overview_names_everything(albor) -> None:
    out = albor("explain").out
    assert all(word in out for word in (*keys(), *RULES, *CODES))
    assert "data.filters.max_characters" in albor("explain", "data.filters").out


def test_keys_below_a_name_of_the_users_own_are_explained(albor) -> None:
    out = albor("explain", "alerts.mine.above").out
    assert out.startswith("alerts.NAME.above") and "number or null" in out
    assert "alerts.NAME.for_seconds" in albor("explain", "alerts.mine").out
    assert albor("explain", "data.source.parts.mine.weight").out.startswith("data.source.parts.NAME.weight")
    assert "whole number" in albor("explain", "hydra.launcher.n_jobs").out
    assert "hydra.sweeper.n_trials" in albor("explain", "hydra.sweeper").out
    assert "alerts.NAME.above" in albor("explain", "alerts.mine.abov").err


def test_every_schema_field_has_a_docstring() -> None:
    owners = {k.owner for k in keys().values()}
    assert len(owners) >= 12
    for schema in (Config, *(stages.find(s).config for s in stages.names())):
        assert field_docs(schema).keys() == {f.name for f in dataclasses.fields(schema)}, schema
    described: list[Key] = [*walk(Config), *keys().values()]
    assert [k.path for k in described if not k.help.endswith(".")] == []


def test_every_verb_has_help(albor) -> None:
    assert FLAGS.keys() <= {*VERBS, ""} and WORDS.keys() <= VERBS.keys()
    assert all(verb in albor("--help").out for verb in VERBS)
    for verb in VERBS:
        done = albor(verb, "--help")
        assert done.code == 0 and done.out.startswith(f"albor {verb}: ")
        assert all(f"--{flag.replace('_', '-')}" in done.out for flag in FLAGS.get(verb, ()))
    assert "RUN RUN" in albor("diff", "--help").out and "tokens a step" in albor("fit", "--help").out
    texts = field_docs(Arguments)
    assert [f.name for f in dataclasses.fields(Arguments) if not texts.get(f.name, "").endswith(".")] == []
    out = albor("--help", "stage=pretrain", "optim.lr=0.125").out
    assert "optim.lr" in out and "0.125" in out and "data.fim_rate" not in out


def test_version(albor) -> None:
    assert albor("--version").out.startswith("albor ")


def test_ls_lists_every_choice_and_the_users_own(albor, tmp_path: Path) -> None:
    out = albor("ls").out
    for group, choices in options([conf_directory()]).items():
        assert all(f"{group}={choice}" in out for choice in choices)
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("# @package _global_\n# My very own.\nmodel: {}\n")
    done = albor("ls", "model", "--config-dir", "own")
    assert "model=mine" in done.out and "My very own." in done.out and "model=tiny" in done.out
    assert "stage=" not in done.out


@pytest.mark.parametrize("texts", [(), ("model=350m", "stage=pretrain"), ("experiment=original/v3",)])
def test_cfg_job_is_yaml_and_comes_back(texts, albor, tmp_path: Path) -> None:
    done = albor("--cfg", "job", *texts)
    assert done.code == 0
    tree = yaml.safe_load(done.out)
    assert list(tree) == [f.name for f in dataclasses.fields(Config)]
    config, problems = Structurer()(tree, stages.find(tree["stage"]["name"]).config)
    assert problems == [] and config is not None
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    stage = tree.pop("stage")["name"]
    whole = yaml.safe_dump(tree, sort_keys=False)
    (tmp_path / "own" / "experiment" / "again.yaml").write_text(f"# @package _global_\n{whole}")
    again = albor("--cfg", "job", "--config-dir", "own", "experiment=again", f"stage={stage}")
    assert again.out == done.out


def test_plan_json(albor) -> None:
    done = albor("plan", "--json", "stage=report", "model=50m", "data.num_sequences=100M")
    plan = json.loads(done.out)
    assert done.code == 0 and plan["refused"] is False and plan["target"].startswith("report/")
    nodes = {n["stage"]: n for n in plan["nodes"]}
    assert list(nodes) == ["prepare", "tokenizer", "pack", "pretrain", "generate", "eval", "report"]
    assert nodes["pretrain"]["cost"]["parameters"] == 62_403_072
    assert nodes["pretrain"]["cost"]["tensors"] == 110
    assert nodes["pretrain"]["inputs"] == {"rows": nodes["pack"]["id"], "tokenizer": nodes["tokenizer"]["id"]}
    assert all(n["state"] == "new" for n in plan["nodes"])
    refused = albor("plan", "--json", "experiment=original/v1")
    assert refused.code == 2 and json.loads(refused.out)["refused"] is True
    findings = [f for n in json.loads(refused.out)["nodes"] for f in n["findings"] if f["severity"] == "error"]
    assert {f["id"] for f in findings} == {"C-TRAINCFG-001"}
    assert all(f["origin"] for f in findings)
    assert json.loads(albor("validate", "--json", "model=tiny").out)["refused"] is False


def test_plan_writes_nothing(albor, tmp_path: Path) -> None:
    for words in (
        ["plan"],
        ["validate", "model=tiny"],
        ["fit"],
        ["runs"],
        ["ls"],
        ["explain"],
        ["contracts"],
        ["doctor"],
        ["--cfg", "job"],
    ):
        assert albor(*words).code == 0
    assert list(tmp_path.iterdir()) == []


def test_plan_says_what_it_costs(albor) -> None:
    out = albor("plan", "model=350m", "stage=pretrain", "trainer.tokens_per_param=20").out
    for words in ("398,509,056 parameters in 218 tensors", "131,072 tokens", "7.97B tokens", "20 per parameter",
                  "memory", "139 GiB (h200)", "disk", "on h200 at 45%"):  # fmt: skip
        assert words in out, words


def test_runs_of_an_empty_store(albor) -> None:
    assert "no runs" in albor("runs").out
    assert json.loads(albor("runs", "--json").out) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("the loss was not finite at step 7\nand more", "the loss was not finite at step 7"),
        ("all words of four " * 9, "all words of four " * 4 + "all…"),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
    ],
)
def test_a_long_error_is_cut_between_words(said: str, shown: str, albor, tmp_path: Path) -> None:
    made = manifest.Manifest(stage="pack", version=1, id="a" * 12, label="x", status="failed", command="", config={},
                             error=said)  # fmt: skip
    write_run(tmp_path / "outputs", made)
    assert albor("runs").out.splitlines()[-1].endswith(f"  {shown}")


def test_doctor(albor) -> None:
    checks = {c["name"]: c["verdict"] for c in json.loads(albor("doctor", "--json").out)}
    assert checks["python"] == "ok" and checks["torch"] == "ok" and checks["disk"] == "ok"
    assert albor("doctor", "outputs=elsewhere").code == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("albor pl", ["plan"]),
        ("albor plan model=t", ["model=tiny"]),
        ("albor model=", [f"model={m}" for m in ("125m", "350m", "50m", "small", "tiny")]),
        ("albor plan optim.schedule=c", ["optim.schedule=cosine", "optim.schedule=constant"]),
        ("albor plan trainer.compile=t", ["trainer.compile=true"]),
        ("albor plan optim.l", ["optim.lr="]),
        ("albor ls mod", ["model"]),
        ("albor runs pre", ["preferences", "prepare", "pretrain"]),
        ("albor explain C-HW", ["C-HW-001", "C-HW-002", "C-HW-003", "C-HW-004", "C-HW-005"]),
        ("albor contracts C-OPT", ["C-OPTIM-001"]),
        ("albor contracts --g", ["--graph"]),
        ("albor plan --st", ["--strict"]),
        ("albor ls --", ["--config-dir"]),
        ("albor nothing=", []),
    ],
)
def test_completion(line: str, expected: list[str]) -> None:
    assert answers(line) == expected


def test_completion_is_asked_by_the_shell(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "albor plan stage=pre")
    assert albor("-sc", "query=bash").out.split() == ["stage=preferences", "stage=prepare", "stage=pretrain"]


def test_what_is_completed_is_accepted(planner) -> None:
    for key in keys().values():
        for value in key.values:
            if key.path != "stage.name" and not key.path.endswith(".kind") and value:  # a kind needs its own keys
                readers = (s for s in stages.names() if stages.find(s).reads_key(key.path))
                beside = () if key.path.startswith("stage.") else (f"stage={next(readers, 'report')}",)
                text = f"{key.path}={value}"
                assert planner.plan((*beside, *context(key.path), text)).nodes, text


@pytest.mark.parametrize("hardware", ["cpu", "mps", "rtx4090", "a100", "h100", "h200"])
@pytest.mark.parametrize("model", ["tiny", "small", "50m", "125m", "350m"])
def test_fit_proposes_what_the_contracts_accept(model: str, hardware: str, planner) -> None:
    device = {"cpu": "cpu", "mps": "mps"}.get(hardware, "cuda")
    base = ("stage=pretrain", f"model={model}", f"hardware={hardware}", f"trainer.accelerator={device}",
            "data.num_sequences=1B", "trainer.precision=float32")  # fmt: skip
    for tokens in (2**12, 2**17, 2**19, 3 * 2**17):
        for devices in (1, 8):
            words = (*base, f"trainer.devices={devices}")
            config = planner.plan(words).target.config
            try:
                found = propose(Case(config, "pretrain", {}), tokens)
            except AlborError as error:
                assert error.help
                continue
            assert found["micro_batch_size"] * found["grad_accum"] * devices * config.data.seq_len == tokens
            assert found["micro_batch_size"] <= found["largest_micro_batch"]
            plan = planner.plan((*words, *found["overrides"].split()))
            refused = {f.id for _, f in plan.errors}
            assert "C-FIT-001" not in refused
            assert ("C-TRAINCFG-003" in refused) == (tokens < 65_536 and config.model.num_parameters >= 10**8)


def test_fit_on_the_command_line(albor) -> None:
    done = albor("fit", "model=350m", "hardware=h200", "--tokens-per-step", "524288", "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["tokens_per_step"] == 524_288
    shown = albor("fit", "model=350m", "hardware=h200", "--tokens-per-step", "524288").out
    assert found["overrides"] in shown and "398,509,056 parameters" in shown
    accepted = albor("validate", "stage=pretrain", "model=350m", "hardware=h200", *found["overrides"].split())
    assert accepted.code == 0


def test_a_run_that_is_done_says_how_a_profile_is_made(albor, planner) -> None:
    given = ("stage=pretrain", "tracking=none")
    plan = planner.plan(given)
    prepare(plan)
    for node in plan.nodes:
        manifest.save(node.directory, manifest.load(node.directory).to("done"))
    short = "trainer.max_steps=20 trainer.warmup_steps=1"
    done, without = albor(*given, "trainer.profile=true"), albor(*given)
    assert done.code == 0 and "nothing to do" in done.err and short in done.err
    assert without.code == 0 and short not in without.err
    assert albor("validate", *given, "trainer.profile=true", *short.split()).code == 0


@pytest.mark.parametrize(("words", "code"), [("plan", 0), ("explain E-HANG", 0), ("validate optim.lrr=1", 2)])
@pytest.mark.parametrize("reader", [">&-", "| exec true"], ids=["closed", "gone"])
def test_a_reader_that_has_gone_is_no_error(words: str, code: int, reader: str, tmp_path: Path) -> None:
    """What was not read is as if it had been read, also when it is written only at the end."""
    status = tmp_path / "status"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    line = f"{{ {sys.executable} -m albor {words}; echo $? > {status}; }} {reader}"
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert int(status.read_text()) == code
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr and "Broken" not in done.stderr
    assert bool(done.stderr) == bool(code)
