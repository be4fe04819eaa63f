"""Every mistake is one readable message with a place and a way out; nothing is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.stores import put


def refused(outcome, *, messages: int | None = None) -> list[str]:
    """The messages of a refusal, one string each."""
    assert outcome.code == 2, outcome.text
    assert "Traceback" not in outcome.text
    assert not Path("outputs").exists()
    found = re.split(r"(?m)^(?=error\[)", outcome.err)[1:]
    assert found, outcome.text
    assert messages is None or len(found) == messages, outcome.err
    for text in found:
        lines = text.splitlines()
        assert any(line.strip().startswith(("-->", "help:")) for line in lines), text
        assert len(text) < 1_500
    return found


OVERRIDES = {
    # overrides → (code, what the message names, what the help says)
    "optim.lrr=1": ("E-KEY", "override optim.lrr=1", "`optim.lr`"),
    "+optim.lrr=1": ("E-KEY", "override +optim.lrr=1", "`optim.lr`"),
    "++optim.lrr=1": ("E-KEY", "override ++optim.lrr=1", "`optim.lr`"),
    "+new.section=1": ("E-KEY", "override +new.section=1", "albor explain"),
    "modle=tiny": ("E-KEY", "override modle=tiny", "`model`"),
    "lr=1": ("E-KEY", "override lr=1", "`optim.lr`"),
    "data.lr=1": ("E-KEY", "override data.lr=1", "`optim.lr`"),
    "~optim.lrr": ("E-KEY", "override ~optim.lrr", "leave it out"),
    "~optim.lr.x": ("E-KEY", "override ~optim.lr.x", "leave it out"),
    "optim.lr.x=1": ("E-TYPE", "override optim.lr.x=1", ""),
    "optim={1: 2}": ("E-KEY", "optim.1", ""),
    "up.pack.data.fim_rat=1": ("E-KEY", "override up.pack.data.fim_rat=1", "`data.fim_rate`"),
    "alerts.loss_spike.abov=4": ("E-KEY", "override alerts.loss_spike.abov=4", "`alerts.loss_spike.above`"),
    "alerts.x={metric: grad_nrom, above: 9}": ("E-VALUE", "override alerts.x", "'grad_norm'"),
    "alerts.x={metric: loss, above: high}": ("E-TYPE", "override alerts.x", "`albor explain alerts.x.above`"),
    "alerts.x.above=3": ("E-MISSING", "alerts.x.metric (override alerts.x.above=3)", "give one: alerts.x.metric=…"),
    "alerts.los_spike.above=4": (
        "E-MISSING",
        "(override alerts.los_spike.above=4)",
        "did you mean `alerts.loss_spike`",
    ),
    "alerts={los_spike: {above: 4}}": ("E-MISSING", "(override alerts={los_sp", "did you mean `alerts.loss_spike`"),
    "alerts.los_spike=null": ("E-KEY", "override alerts.los_spike=null", "did you mean `alerts.loss_spike`"),
    "alerts={los_spike: null}": ("E-KEY", "override alerts={los_spike: null}", "did you mean `alerts.loss_spike`"),
    "alerts.x=null": ("E-KEY", "override alerts.x=null", "leave it out"),
    "alerts=nome": ("E-CHOICE", "override alerts=nome", "`alerts=none`"),
    "model=tinny": ("E-CHOICE", "override model=tinny", "`model=tiny`"),
    "stage=pretrian": ("E-CHOICE", "override stage=pretrian", "`stage=pretrain`"),
    "experiment=original/v9": ("E-CHOICE", "override experiment=original/v9", "`experiment=original/v"),
    "experiment=v1": ("E-CHOICE", "override experiment=v1", "original/v1"),
    "up.pack.data=stdlb": ("E-CHOICE", "override up.pack.data=stdlb", "`data=stdlib`"),
    "model=null": ("E-CHOICE", "override model=null", "model=CHOICE"),
    "~model": ("E-CHOICE", "override ~model", "model=CHOICE"),
    "model=[tiny,50m]": ("E-CHOICE", "override model=[tiny,50m]", "model=CHOICE"),
    "model=tiny,50m": ("E-OVERRIDE", "override model=tiny,50m", "-m"),
    "model@x=tiny": ("E-OVERRIDE", "override model@x=tiny", "model="),
    "optim.lr=1e-3,2e-3": ("E-OVERRIDE", "override optim.lr=1e-3,2e-3", "-m"),
    "optim.lr=abc": ("E-TYPE", "override optim.lr=abc", ""),
    "optim.lr=true": ("E-TYPE", "override optim.lr=true", ""),
    "optim.lr=[1]": ("E-TYPE", "override optim.lr=[1]", ""),
    "optim.lr=null": ("E-TYPE", "override optim.lr=null", ""),
    "optim.betas=[0.9]": ("E-TYPE", "override optim.betas=[0.9]", ""),
    "optim.betas=0.9": ("E-TYPE", "override optim.betas=0.9", "[…]"),
    "trainer.max_steps=1.5": ("E-TYPE", "override trainer.max_steps=1.5", ""),
    "trainer.tokens=1X": ("E-TYPE", "override trainer.tokens=1X", ""),
    "trainer.deterministic=yes": ("E-TYPE", "override trainer.deterministic=yes", ""),
    "name=5": ("E-TYPE", "override name=5", "quote"),
    "allow=C-TRAINCFG-003": ("E-TYPE", "override allow=C-TRAINCFG-003", "allow=[…]"),
    "optim.schedule=cosin": ("E-VALUE", "override optim.schedule=cosin", "'cosine'"),
    "trainer.precision=fp16": ("E-VALUE", "override trainer.precision=fp16", "bf16"),
    "task=[humanevl,mbpp]": ("E-CHOICE", "override task=[humanevl,mbpp]", "`task=humaneval`"),
    "task=perplexty": ("E-CHOICE", "override task=perplexty", "`task=perplexity`"),
    "data.source.kind=stdlb": ("E-VALUE", "override data.source.kind=stdlb", "'stdlib'"),
    "trainer.max_steps=-5": ("E-RANGE", "override trainer.max_steps=-5", ""),
    "trainer.max_steps=0": ("E-RANGE", "override trainer.max_steps=0", ""),
    "trainer.tokens=0B": ("E-RANGE", "override trainer.tokens=0B", ""),
    "seed=-1": ("E-RANGE", "override seed=-1", ""),
    "data.fim_rate=2": ("E-RANGE", "override data.fim_rate=2", ""),
    "optim.betas=[0.9,1.0]": ("E-RANGE", "override optim.betas=[0.9,1.0]", ""),
    "task=[]": ("E-CHOICE", "override task=[]", "task=CHOICE"),
    "optim.lr=.nan": ("E-RANGE", "override optim.lr=.nan", ""),
    "optim.lr=nan": ("E-RANGE", "override optim.lr=nan", ""),
    "optim.lr=inf": ("E-RANGE", "override optim.lr=inf", ""),
    "optim.lr=-.inf": ("E-RANGE", "override optim.lr=-.inf", ""),
    "trainer.tokens=nan": ("E-RANGE", "override trainer.tokens=nan", ""),
    "optim.lr=1e400": ("E-RANGE", "override optim.lr=1e400", ""),
    "seed=${nope}": ("E-INTERPOLATION", "override seed=${nope}", ""),
    "seed=${seed}": ("E-INTERPOLATION", "override seed=${seed}", ""),
    "seed=${oc.env:ALBOR_SECRET}": ("E-INTERPOLATION", "ALBOR_SECRET may not enter", ""),
    "seed=${nosuchresolver:1}": ("E-INTERPOLATION", "override seed=${nosuchresolver:1}", ""),
    "seed=${": ("E-OVERRIDE", "override seed=${", ""),
    "seed=???": ("E-MISSING", "override seed=???", ""),
    "optim._target_=os.system": ("E-TARGET", "override optim._target_=os.system", "remove it"),
    "+a.b.c._target_=os.system": ("E-TARGET", "override +a.b.c._target_=os.system", "remove it"),
    "+optim.x=[{_target_: os.system}]": ("E-KEY", "_target_", ""),
    "inputs={rows: {_target_: os.system}}": ("E-TYPE", "_target_", ""),
    "optim.lr={_target_: os.system}": ("E-TYPE", "_target_", ""),
    "hydra.lancher.x=1": ("E-KEY", "override hydra.lancher.x=1", "hydra.launcher"),
    "up.nostage.x=1": ("E-OVERRIDE", "up.nostage", "pretrain"),
    "up.pakc.data.fim_rate=1": ("E-OVERRIDE", "up.pakc", "up.pack"),
    "up.report.stage.of=x": ("E-OVERRIDE", "up.report", "They are"),
    "up.pack=1": ("E-OVERRIDE", "up.pack=1", "up.STAGE.KEY"),
    "up.pack.optim.lr=1": ("E-OVERRIDE", "override up.pack.optim.lr=1", "leave it out"),
    "~up.pack.data": ("E-CHOICE", "override up.pack.~data", "data=CHOICE"),
    "up.pack.data=null": ("E-CHOICE", "override up.pack.data=null", "data=CHOICE"),
    "hydra.mode=MULTI": ("E-VALUE", "override hydra.mode=MULTI", "MULTIRUN"),
    "~optim.lr=5": ("E-OVERRIDE", "override ~optim.lr=5", "~optim.lr"),
    "name=a/b": ("E-RANGE", "override name=a/b", "letters"),
    "name=../x": ("E-RANGE", "override name=../x", "letters"),
    "model.name=..": ("E-RANGE", "override model.name=..", "letters"),
    f"name={'x' * 101}": ("E-RANGE", "override name=xxx", "100 letters"),
    "up.pack.stage=prepare": ("E-OVERRIDE", "override up.pack.stage=prepare", "without up"),
    "inputs.nothing=x": ("E-OVERRIDE", "override inputs.nothing=x", "rows"),
    "inputs.row=x": ("E-OVERRIDE", "override inputs.row=x", "inputs.rows"),
    "inputs={row: x}": ("E-OVERRIDE", "override inputs={row: x}", "inputs.rows"),
    "inputs.rows=no-such-run": ("E-RUN", "outputs", "albor runs"),
    "init_from=no-such-run": ("E-RUN", "outputs", "albor runs"),
    "eval.prompts=[x]": ("E-OVERRIDE", "override eval.prompts=[x]", "leave it out"),
    "optim.lr=1 2": ("E-TYPE", "override optim.lr=1 2", ""),
    "optim.lr=(": ("E-OVERRIDE", "override optim.lr=(", ""),
    "=1": ("E-OVERRIDE", "=1", "KEY=VALUE"),
    "hydraulic=1": ("E-KEY", "override hydraulic=1", ""),
}


@pytest.mark.parametrize("given", OVERRIDES)
def test_overrides(given: str, albor) -> None:
    code, place, fix = OVERRIDES[given]
    (message,) = refused(albor("validate", "stage=pretrain", given), messages=1)
    assert message.startswith(f"error[{code}]"), message
    assert place in message
    assert fix in message


@pytest.mark.parametrize("verb", ["plan", "validate", "fit", "run"])
def test_every_verb_refuses_alike(verb: str, albor) -> None:
    words = (["stage=pretrain"] if verb == "run" else [verb, "stage=pretrain"]) + ["optim.lrr=1"]
    assert "`optim.lr`" in refused(albor(*words), messages=1)[0]


@pytest.mark.parametrize(
    ("words", "place", "fix"),
    [
        (["plann"], "'plann'", "albor plan"),
        (["train", "it"], "'train'", "plan"),
        (["--mutlirun", "seed=1"], "--mutlirun", "--multirun"),
        (["plan", "--bogus"], "--bogus", "--help"),
        (["plan", "-m", "seed=1,2"], "--multirun", ""),
        (["plan", "--cfg", "job"], "--cfg", ""),
        (["--cfg", "nonsense"], "--cfg", ""),
        (["plan", "stray"], "'stray'", ""),
        (["validate", "stray"], "'stray'", ""),
        (["fit", "stray"], "'stray'", ""),
        (["doctor", "stray"], "'stray'", ""),
        (["fit", "--tokens-per-step", "many"], "--tokens-per-step", ""),
        (["fit", "--tokens-per-step", "1e400"], "--tokens-per-step", ""),
        (["fit", "--tokens-per-step", "100"], "100 tokens", "--tokens-per-step"),
        (["fit", "stage=prepare"], "nothing is trained", "stage=pretrain"),
        (["fit", "model=350m", "hardware=rtx4090", "hardware.memory=1GiB"], "does not fit", "smaller"),
        (["ls", "modle"], "'modle'", "albor ls model"),
        (["explain", "optim.lrr"], "'optim.lrr'", "optim.lr"),
        (["explain", "C-TRAINCFG-01"], "'C-TRAINCFG-01'", "C-TRAINCFG-001"),
        (["diff", "a"], "two runs", "albor runs"),
        (["diff", "a", "b"], "there is no run 'a'", "albor runs"),
        (["sample"], "one run", "--prompt"),
        (["sample", "a", "--prompt", "x"], "there is no run 'a'", "albor runs"),
        (["sample", "a", "--prompt", ""], "there is no run 'a'", "albor runs"),
        (["sample", "a", "--temperature", "hot"], "--temperature", ""),
        (["sample", "a", "--prompt", "x", "--temperature", "-1"], "--temperature -1", "--temperature 0"),
        (["sample", "a", "--prompt", "x", "--top-p", "1.5"], "--top-p 1.5", "up to 1"),
        (["sample", "a", "--prompt", "x", "--max-new-tokens", "0"], "--max-new-tokens 0", "1 or more"),
        (["sample", "a", "--prompt", "x", "--max-new-tokens", "-5"], "--max-new-tokens -5", "1 or more"),
        (["watch", "a", "--patience", "abc"], "--patience takes a whole number, not 'abc'", "`albor watch --help`"),
        (["watch", "a", "--patience"], "--patience takes a value", "`albor watch --help`"),
        (["watch", "a", "--json"], "--json does not go with `albor watch`", "`albor watch --help`"),
        (["gc", "--days", "abc"], "--days takes a number, not 'abc'", "`albor gc --help`"),
        (["gc", "--yes=3"], "--yes takes no value, not '3'", "`albor gc --help`"),
        (["audit", "a", "--format", "xml"], "--format has no choice 'xml' (choose from 'text'", "`albor audit --help`"),
        (["runs", "nostage"], "nostage", "pretrain"),
        (["runs", "optim.lr=1"], "optim.lr=1", "outputs=DIR"),
        (["--config-dir", "nowhere"], "nowhere", "--config-dir"),
        (["ls", "--config-dir", "nowhere"], "nowhere", "--config-dir"),
        (["plan", "hydra.searchpath=[nowhere]"], "nowhere", "hydra.searchpath"),
        (["plan", "hydra.searchpath=[pkg://no.such.package]"], "no.such.package", "hydra.searchpath"),
        (["plan", "hydra.searchpath=nowhere"], "hydra.searchpath", "[DIR]"),
        (["plan", "hydra.nonsense=1"], "hydra.nonsense", ""),
        (["stage=eval", "stage.of=eval"], "eval", "stage.of"),
        (["stage=prune", "prune=wanda", "prune.sparsity=1.2"], "override prune.sparsity=1.2", "prune.sparsity"),
        (["stage=prune", "prune.sparsity=0.5"], "override prune.sparsity=0.5", "albor ls prune"),
        (["stage=finetune", "finetune.targets=[qproj]"], "finetune.targets[0]", "did you mean 'q_proj'"),
        (["stage=finetune", "finetune.targets=[embed_tokens]"], "finetune.targets[0]", "q_proj, k_proj"),
        (["stage=pretrain", "objective=dpo"], "override objective=dpo", "stage=finetune"),
        (["stage=pretrain", "merge=ties"], "override merge=ties", "stage=merge"),
        (["stage=finetune", "objective=dop"], "override objective=dop", "`objective=dpo`"),
        (["stage=finetune", "objective.beta=0.2"], "override objective.beta=0.2", "albor ls objective"),
        (["stage=finetune", "preferences.samples=2"], "override preferences.samples=2", "choose another stage"),
        (["stage=finetune", "objective=dpo", "preferences.sample=2"], "preferences.sample", "`preferences.samples`"),
        (["stage=finetune", "objective=dpo", "stage.of=pretrain"], "stage.of", "up.instruct.stage.of=pretrain"),
        (["stage=finetune", "objective=dpo", "init_from=x"], "init_from", "inputs.init_from=x"),
        (["stage=finetune", "objective=dpo", "up.instrct.seed=1"], "up.instrct", "did you mean up.instruct?"),
        (["stage=finetune", "objective=dpo", "instructions=jsonl"], "instructions.path", "give one"),
        (["stage=finetune", "objective=dpo", "trainer.precision=fp8"], "C-FINETUNE-001", "trainer.precision=bf16"),
        (["stage=finetune", "objective=dpo", "data.seq_len=256"], "C-DATA-001", "up.preferences.data.seq_len=256"),
        (["stage=eval", "eval.of=pretrian"], "eval.of", "'pretrain'"),
        (["-m", "seed=1,2", "optim.lr=1", "stage=prepare"], "optim.lr", "leave it out"),
        (["-m", "seed=1,2", "hydra.lancher.x=1"], "hydra.lancher.x=1", "hydra.launcher"),
        (["-m", "+hydra.sweeper.params={seed: '1,2'}"], "hydra.sweeper.params", "KEY=A,B"),
        (["-m", "seed=range(1,"], "seed=range(1,", ""),
        (["--cfg", "job", "optim.lrr=1"], "optim.lrr", "`optim.lr`"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_command_lines(words: list[str], place: str, fix: str, albor) -> None:
    message = "".join(refused(albor(*words)))
    assert place in message
    assert fix in message


def test_a_run_without_a_model_is_named_before_a_prompt_is_asked_for(tmp_path: Path, albor) -> None:
    put(tmp_path / "elsewhere", "tokenizer", "bb00")
    (message,) = refused(albor("sample", "bb00", "--prompt", "", "outputs=elsewhere"), messages=1)
    assert "no model lies in this run" in message


@pytest.mark.parametrize("words", [("runs",), ("runs", "--json"), ("gc",), ("card", "x")])
def test_a_store_that_is_not_there_is_not_an_empty_one(words: tuple[str, ...], albor, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("")
    for name, cause in (("README.md", "README.md is a file"), ("nosuch", "there is no directory nosuch")):
        (message,) = refused(albor(*words, f"outputs={name}"), messages=1)
        assert cause in message and f"--> outputs={name}" in message and "help: outputs=DIR" in message
    assert albor("runs").out.startswith("no runs in outputs")


def test_where_nothing_is_watched_anything_may_be_switched_off(albor) -> None:
    assert albor("validate", "stage=pretrain", "alerts=none", "alerts.loss_spike=null").code == 0


def test_a_circle_through_a_section(albor) -> None:
    given = ("tokenizer=hf", "tokenizer.path=x", "tokenizer.vocab_size.x=${model}")
    assert "E-INTERPOLATION" in "".join(refused(albor("validate", "stage=pretrain", *given)))


def test_two_budgets_at_once(albor) -> None:
    outcome = albor("validate", "stage=pretrain", "trainer.max_steps=900", "trainer.tokens=1B")
    (message,) = refused(outcome, messages=1)
    assert message.startswith("error[C-TRAINCFG-005]") and "trainer.tokens=null" in message


def test_all_mistakes_arrive_together(albor) -> None:
    outcome = albor(
        "plan",
        "stage=pretrain",
        "model=tinny",
        "optim.lr=abc",
        "seed=-1",
        "trainer.epoch=3",
        "up.pack.data.fim_rate=7",
        "up.nostage.x=1",
        "inputs.nothing=x",
        "eval.prompts=[x]",
    )
    assert len(refused(outcome, messages=8)) == 8


def user(tmp_path: Path, name: str, text: str | bytes) -> str:
    """A user's config directory with one file in it."""
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(tmp_path / "own")


BOMB = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{chr(ord(c) - 1)}'] * 9)}]\n" for c in "bcdefghij")
SMALL_BOMB = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{chr(ord(c) - 1)}'] * 3)}]\n" for c in "bcdefghijklmnop"
)
G = "# @package _global_\n"
FILES: dict[str, tuple[str | bytes, str, str]] = {
    "unknown key": (f"{G}optim:\n  lr: 1\n  lrr: 2\n", "x.yaml:4", "`optim.lr`"),
    "unknown section": (f"{G}optimizer: {{lr: 2}}\n", "x.yaml:2", "optim.lr"),
    "wrong type": (f"{G}\noptim:\n  lr: fast\n", "x.yaml:4", ""),
    "out of range": (f"{G}trainer: {{max_steps: -3}}\n", "x.yaml:2", "> 0"),
    "nan": (f"{G}optim:\n  lr: .nan\n", "x.yaml:3", ""),
    "inf": (f"{G}optim:\n  lr: -.inf\n", "x.yaml:3", ""),
    "interpolation": (f"{G}optim:\n  lr: ${{nope}}\n", "x.yaml:3", ""),
    "malformed interpolation": (f"{G}optim:\n  lr: ${{nope\n", "x.yaml", ""),
    "cycle": (f"{G}optim:\n  lr: ${{optim.eps}}\n  eps: ${{optim.lr}}\n", "x.yaml:3", ""),
    "cycle through text": (f"{G}name: a-${{name}}\n", "x.yaml:2", ""),
    "missing": (f"{G}\ntokenizer: {{kind: hf, path: '???'}}\n", "x.yaml:3", "tokenizer.path="),
    "no package": ("optim: {lr: 1}\n", "x.yaml:1", "# @package _global_"),
    "no package, empty": ("", "x.yaml", "# @package _global_"),
    "secret": (f"{G}name: ${{oc.env:ALBOR_SECRET}}\n", "x.yaml:2", ""),
    "target": (f"{G}optim:\n  _target_: os.system\n", "x.yaml:3", "remove it"),
    "deep target": (f"{G}optim: {{a: [{{b: [{{c: {{_target_: os.system}}}}]}}]}}\n", "x.yaml:2", "remove it"),
    "defaults choice": (f"{G}defaults:\n  - override /model: tinny\n", "x.yaml:3", "model=tiny"),
    "defaults of the same group": (f"{G}defaults:\n  - nothere\n", "x.yaml", "original/v1"),
    "defaults group": (f"{G}defaults:\n  - override /modle: tiny\n", "x.yaml", ""),
    "defaults not a list": (f"{G}defaults: 3\n", "x.yaml", ""),
    "defaults malformed": (f"{G}defaults:\n  - [a]\n", "x.yaml", ""),
    "duplicate key": (f"{G}optim:\n  lr: 1\n  lr: 2\n", "x.yaml:4", "keep one"),
    "duplicate section": (f"{G}optim: {{lr: 1}}\nseed: 1\noptim: {{eps: 1}}\n", "x.yaml:4", "keep one"),
    "alias bomb": (BOMB, "x.yaml", ""),
    "alias bomb of few aliases": (SMALL_BOMB, "x.yaml", ""),
    "alias of itself": (f"{G}name: &a [*a]\n", "x.yaml:2", ""),
    "merge key": (f"{G}x: &x {{lr: 1}}\noptim:\n  <<: *x\n", "x.yaml", ""),
    "deep": ("a: " + "[" * 2000 + "]" * 2000 + "\n", "x.yaml", ""),
    "deep mapping": ("".join(f"{' ' * i}a:\n" for i in range(2000)), "x.yaml", ""),
    "huge": ("# " + "x" * (1 << 20) + "\n", "x.yaml", ""),
    "not UTF-8": (b"# @package _global_\nname: caf\xe9\n", "x.yaml", ""),
    "UTF-16": ("name: x\n".encode("utf-16"), "x.yaml", ""),
    "NUL": (b"name: a\x00b\n", "x.yaml", ""),
    "tab": (f"{G}optim:\n\tlr: 1\n", "x.yaml:3", ""),
    "unclosed": (f"{G}optim: {{lr: 1\n", "x.yaml:", ""),
    "list": ("- a\n- b\n", "x.yaml:1", "mapping"),
    "scalar": ("hello\n", "x.yaml:1", "mapping"),
    "two documents": (f"{G}seed: 1\n---\nseed: 2\n", "x.yaml", ""),
    "tag": (f"{G}name: !!python/object/apply:os.system ['true']\n", "x.yaml", ""),
    "binary": (f"{G}name: !!binary aGk=\n", "x.yaml", ""),
    "number key": (f"{G}1: 2\n", "x.yaml", ""),
    "null key": (f"{G}null: 2\n", "x.yaml", ""),
    "list key": (f"{G}[a, b]: 2\n", "x.yaml", ""),
    "mapping key": (f"{G}? {{a: 1}}\n: 2\n", "x.yaml", ""),
    "date": (f"{G}seed: 2020-01-01\n", "x.yaml:2", ""),
    "section is text": (f"{G}optim: fast\n", "x.yaml", ""),
    "section is a list": (f"{G}optim: [lr]\n", "x.yaml", ""),
    "section is null": (f"{G}optim: null\n", "x.yaml", ""),
    "stage of another": (f"{G}stage: {{name: nonsense}}\n", "x.yaml:2", ""),
}


@pytest.mark.parametrize("case", FILES)
def test_files(case: str, albor, tmp_path: Path) -> None:
    text, place, fix = FILES[case]
    directory = user(tmp_path, "experiment/x.yaml", text)
    messages = refused(albor("validate", "--config-dir", directory, "experiment=x", "stage=pretrain"))
    assert len(messages) <= 3, messages
    assert place in "".join(messages), messages
    assert fix in "".join(messages), messages


def test_an_empty_file_sets_nothing(albor, tmp_path: Path) -> None:
    directory = user(tmp_path, "experiment/x.yaml", "# @package _global_\n")
    assert albor("validate", "--config-dir", directory, "experiment=x").code == 0


def test_a_yaml_that_is_a_directory_or_a_dangling_link(albor, tmp_path: Path) -> None:
    directory = tmp_path / "own" / "experiment"
    (directory / "folder.yaml").mkdir(parents=True)
    (directory / "dangling.yaml").symlink_to("nowhere")
    assert "folder" not in albor("ls", "--config-dir", str(tmp_path / "own")).out
    for name in ("folder", "dangling"):
        refused(albor("validate", "--config-dir", str(tmp_path / "own"), f"experiment={name}"))


@pytest.mark.parametrize("outputs", ["file/below", "file", "/proc/runs"])
def test_outputs_that_cannot_be_written(outputs: str, albor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    outcome = albor("stage=prepare", "tracking=none", f"outputs={outputs}")
    (message,) = refused(outcome, messages=1)
    assert "outputs=DIR" in message
    assert (tmp_path / "file").read_text() == "not a directory"


def test_a_webhook_without_an_address_is_refused_before_anything_is_made(
    albor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALBOR_HOOK", raising=False)
    hook = ("alerts.loss_spike.action=webhook", "alerts.loss_spike.url_env=ALBOR_HOOK")
    (message,) = refused(albor("debug=default", "tracking=none", *hook), messages=1)
    assert "ALBOR_HOOK is not set" in message and "--> alerts.loss_spike.url_env" in message and "export" in message


def test_a_secret_of_the_environment_stays_out(albor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBOR_SECRET", "hunter2")
    assert "hunter2" not in albor("--cfg", "job", "name=${oc.env:ALBOR_SECRET}").text
    monkeypatch.setenv("USER", "grace")
    assert "name: grace" in albor("--cfg", "job", "name=${oc.env:USER}").out


def test_a_python_without_the_packages() -> None:
    """-S leaves out site-packages: what is left has neither Hydra nor any other."""
    root = Path(__file__).parents[2]
    for words in (["plan"], ["stage=pretrain"]):
        done = subprocess.run(
            [sys.executable, "-S", "-m", "albor", *words], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "albor needs the module 'hydra'" in done.stderr and "make setup" in done.stderr
