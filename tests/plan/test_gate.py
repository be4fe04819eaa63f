"""``albor validate`` without arguments: every YAML there is, through the real parser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from albor.cli.verbs.validate import show
from albor.config.compose import Composer
from albor.config.location import conf_directory
from albor.plan.gate import Gate, check, check_everything
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver

G = "# @package _global_\n"


def test_everything_that_is_shipped(albor, planner: Planner, tmp_path: Path) -> None:
    done = albor("validate", "--json")
    gate = json.loads(done.out)
    assert done.code == 0 and done.err == "" and gate["ok"], gate
    assert gate["bad"] == [] and gate["never_composed"] == []
    primary = (conf_directory() / "config.yaml", conf_directory() / "_sweeps/_root.yaml")
    assert gate["files"] == sorted(str(p) for p in conf_directory().rglob("*.yaml") if p not in primary)
    assert gate["refused_as_expected"] == ["experiment=original/v1", "experiment=original/v3"]
    nowhere = [f"model={model} stage=publish" for model in planner.resolver.composer.groups["model"]]
    assert gate["incomplete"] == ["data=jsonl", "data=local", "data=parquet", "data=tiers",
                               "instructions=jsonl stage=instructions", "stage=publish", "teacher=hf",
                               "tokenizer=hf", *nowhere]  # fmt: skip
    groups = planner.resolver.composer.groups
    models = len(groups["model"]) * (len(groups["stage"]) - 2)  # neither ladders nor what serves one
    assert gate["checked"] == 1 + sum(len(groups[group]) for group in groups if group != "model") + models
    assert list(tmp_path.iterdir()) == []


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


BROKEN = {
    "experiment/typo.yaml": (f"{G}optim: {{lrr: 1}}\n", "optim.lrr"),
    "experiment/contract.yaml": (f"{G}model: {{num_key_value_heads: 5}}\n", "C-MODEL-001"),
    "experiment/choice.yaml": (f"{G}defaults: [override /model: tinny]\n", "tinny"),
    "experiment/unpackaged.yaml": ("optim: {lr: 1}\n", "# @package _global_"),
    "model/target.yaml": ("name: x\n_target_: os.system\n", "_target_"),
    "nogroup/x.yaml": ("a: 1\n", "nogroup"),
    "data/empty.yaml": ("name: empty\n", "data.source"),
    "model/lacking.yaml": (f"{G}model: {{name: lacking, hidden_size: 64}}\n", "model.num_hidden_layers"),
    "model/_base.yaml": ("name: base\n", "never composed"),
    "stray.yaml": ("a: 1\n", "never composed"),
    "model/other.yml": ("name: other\n", "never composed"),
    "stage/new.yaml": ("name: new\n", "stage"),
    "experiment/too_strict.yaml": (f"{G}refused_by: [C-TRAINCFG-001]\n", "is by nothing"),
    "experiment/other.yaml": (
        f"{G}model: {{num_key_value_heads: 5}}\nrefused_by: [C-TRAINCFG-001]\n",
        "must be refused by C-TRAINCFG-001; is by C-MODEL-001",
    ),
    "experiment/half.yaml": (
        f"{G}model: {{num_key_value_heads: 5}}\nrefused_by: [C-MODEL-001, C-TRAINCFG-001]\n",
        "must be refused by C-MODEL-001, C-TRAINCFG-001; is by C-MODEL-001",
    ),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Gate]:
    """One user directory with all of them, judged once."""
    root = tmp_path_factory.mktemp("own")
    for name, (text, _) in BROKEN.items():
        write(root, name, text)
    write(root, "model/fine.yaml", f"{G}defaults: [tiny]\nmodel: {{name: fine, hidden_size: 96}}\n")
    write(root, "experiment/fine.yaml", f"{G}model: {{num_key_value_heads: 5}}\nrefused_by: [C-MODEL-001]\n")
    return root, check_everything(Planner(Resolver(Composer([str(root)]))))


@pytest.mark.xdist_group("gate")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_of_the_user_fails_the_gate(name: str, broken) -> None:
    root, gate = broken
    result = gate.as_json()
    assert not result["ok"]
    group, _, choice = name.removesuffix(".yaml").partition("/")
    words = BROKEN[name][1]
    if words == "never composed":
        assert str(root / name) in result["never_composed"]
    else:
        (case,) = [c for c in result["bad"] if c["config"] == f"{group}={choice}"]
        assert words in json.dumps(case, ensure_ascii=False) or group == "experiment"


@pytest.mark.xdist_group("gate")
def test_what_is_fine_passes_beside_it(broken) -> None:
    result = broken[1].as_json()
    bad = {c["config"] for c in result["bad"]}
    assert not {"model=fine", "experiment=fine", "the defaults", "model=tiny"} & bad
    assert "experiment=fine" in result["refused_as_expected"]
    assert len(result["never_composed"]) == 3


@pytest.mark.xdist_group("gate")
def test_the_gate_speaks_of_a_broken_file(broken, capsys: pytest.CaptureFixture[str]) -> None:
    root, gate = broken
    assert show(gate, json_wanted=False) == 2
    said = capsys.readouterr()
    assert said.out == "" and "refused: " in said.err
    for words in ("typo.yaml:2", "`optim.lr`", "experiment=typo", f"never composed: {root / 'stray.yaml'}\n"):
        assert words in said.err, words


def test_the_gate_speaks_of_what_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(Gate(checked=2, incomplete=["data=jsonl"]), json_wanted=False) == 0
    said = capsys.readouterr()
    assert said.out == "ok: 2 configs checked, 0 files composed, 1 need values of yours\n" and said.err == ""


def test_refused_by_is_exact(planner: Planner) -> None:
    def judge(*texts: str) -> Gate:
        gate = Gate()
        check(planner, texts, gate)
        return gate

    assert judge("experiment=original/v1").ok
    assert judge("stage=pretrain").ok
    assert not judge("experiment=original/v1", "refused_by=[C-TRAINCFG-002]").ok
    assert not judge("experiment=original/v1", "refused_by=[]").ok
    assert not judge("experiment=original/v1", "refused_by=[C-TRAINCFG-001,C-TRAINCFG-003]").ok
    assert not judge("stage=pretrain", "refused_by=[C-TRAINCFG-001]").ok
    assert judge("data=local").incomplete == ["data=local"]
    assert not judge("data=local", "optim.lrr=1").ok
