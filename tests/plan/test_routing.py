"""Which stage an override reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from albor.config.schema.config import Config
from albor.errors import AlborError
from albor.plan.nodes import External, Plan, Planner
from tests.plan.reports import reported

CHAIN = ["prepare", "tokenizer", "pack", "pretrain", "generate", "eval", "report"]


def configs(plan: Plan) -> dict[str, Config]:
    return {n.stage.name: n.config for n in plan.nodes}


def ids(plan: Plan) -> dict[str, str]:
    return {n.stage.name: n.id for n in plan.nodes}


def value(config: Config, key: str) -> Any:
    out: Any = config
    for part in key.split("."):
        out = getattr(out, part)
    return out


def reached(planner: Planner, text: str, *others: str) -> list[str]:
    """Stages whose value of the key is another than without the override."""
    key = text.split("=")[0].lstrip("+")
    before, after = configs(reported(planner, others)), configs(reported(planner, (*others, text)))
    return [s for s in CHAIN if s in after and value(before[s], key) != value(after[s], key)]


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("optim.lr=0.5", ["pretrain"]),
        ("trainer.warmup_steps=7", ["pretrain"]),
        ("model.rope_theta=1e6", CHAIN),
        ("data.seq_len=256", ["pretrain"]),
        ("data.row_len=256", ["pack"]),
        ("data.fim_rate=0.25", ["pack"]),
        ("data.max_documents=9", ["prepare"]),
        ("data.val_fraction=0.5", ["prepare"]),
        ("data.filters.max_characters=900", ["prepare"]),
        ("tokenizer.vocab_size=300", ["tokenizer"]),
        ("eval.batch_size=3", ["generate"]),
        ("eval.threshold=3", ["eval"]),
        ("evals.data_dir=x", CHAIN),
        ("eval.name=x", CHAIN),
        ("name=me", ["report"]),
        ("seed=7", CHAIN),
        ("outputs=elsewhere", CHAIN),
        ("tracking.project=x", CHAIN),
        ("executor.workers=3", CHAIN),
        ("hardware.mfu=0.9", CHAIN),
        ("alerts={x: {metric: loss, above: 12}}", CHAIN),
        ("allow=[C-FIT-001]", CHAIN),
        ("data.num_sequences=77", CHAIN),
    ],
)
def test_a_value_reaches_the_nearest_stage_that_reads_it(text: str, stages: list[str], planner: Planner) -> None:
    assert reached(planner, text) == stages


def test_nearer_stages_come_first(planner: Planner) -> None:
    assert reached(planner, "data.seq_len=256", "stage=pack") == ["pack"]
    assert reached(planner, "data.row_len=256", "stage=pack") == ["pack"]


def test_mappings_and_lists_travel_like_values(planner: Planner) -> None:
    after = configs(reported(planner, ("data={max_documents: 9}", "+eval.prompts=[x]", "optim={lr: 0.5, eps: 1e-6}")))
    assert after["prepare"].data.max_documents == 9 and after["pack"].data.max_documents is None
    assert after["generate"].eval.prompts == ("x",)
    assert (after["pretrain"].optim.lr, after["pretrain"].optim.eps) == (0.5, 1e-6)
    assert configs(reported(planner, ("eval.prompts.0=first",)))["generate"].eval.prompts[0] == "first"


def test_group_choices_of_the_chain_reach_everything(planner: Planner) -> None:
    for text, key, expected in (
        ("model=small", "model.name", "small"),
        ("tokenizer=bpe_32k", "tokenizer.vocab_size", 32_768),
        ("hardware=h200", "hardware.name", "h200"),
        ("trainer=gpu", "trainer.accelerator", "cuda"),
        ("tracking=none", "tracking.mode", "disabled"),
        ("debug=default", "data.max_documents", 300),
    ):
        after = configs(reported(planner, (text,)))
        assert {value(c, key) for c in after.values()} == {expected}, text
    assert {c.model.vocab_size for c in configs(reported(planner, ("model=50m",))).values()} == {32_768}
    assert {c.tokenizer.vocab_size for c in configs(reported(planner, ("model=50m",))).values()} == {32_768}


def test_the_last_of_two_values_wins(planner: Planner) -> None:
    assert configs(reported(planner, ("optim.lr=1", "optim.lr=2")))["pretrain"].optim.lr == 2
    assert configs(reported(planner, ("optim.lr=1", "up.pretrain.optim.lr=2")))["pretrain"].optim.lr == 2
    assert configs(reported(planner, ("up.pretrain.optim.lr=2", "optim.lr=1")))["pretrain"].optim.lr == 2


def test_up_addresses_one_stage(planner: Planner) -> None:
    before, after = reported(planner, ()), reported(planner, ("up.pack.data.fim_rate=0",))
    assert [s for s in CHAIN if configs(after)[s].data.fim_rate == 0] == ["pack"]
    changed = [s for s in CHAIN if ids(before)[s] != ids(after)[s]]
    assert changed == ["pack", "pretrain", "generate", "eval", "report"]


def test_up_may_set_choose_delete_and_add(planner: Planner) -> None:
    plan = reported(
        planner, ("up.prepare.seed=3", "up.pack.data.row_len=128", "up.pretrain.optim=adamw", "+up.eval.name=x")
    )
    assert configs(plan)["prepare"].seed == 3 and configs(plan)["pack"].seed == 42
    assert configs(plan)["pack"].data.row_len == 128
    assert configs(plan)["eval"].name == "x" and configs(plan)["report"].name is None
    declared = ("stage=pack", "data=original_v1")
    assert (
        configs(reported(planner, (*declared, "~up.prepare.data.num_sequences")))["prepare"].data.num_sequences is None
    )


def test_an_experiment_belongs_to_the_stage_that_it_names(planner: Planner) -> None:
    for texts in (("experiment=original/v4",), ("stage=report", "experiment=original/v4")):
        made = configs(reported(planner, texts))
        assert (made["pretrain"].trainer.grad_accum, made["pretrain"].data.seq_len) == (32, 1_024)
        assert made["pack"].trainer.grad_accum != 32
        assert {c.model.name for c in made.values()} == {"350m"}
        assert {c.data.name for c in made.values()} == {"original_v3"}
    assert reported(planner, ("experiment=original/v4",)).target.stage.name == "pretrain"
    assert reported(planner, ("stage=report", "experiment=original/v4")).target.stage.name == "report"
    same = ids(reported(planner, ("experiment=original/v4",)))
    assert same.items() <= ids(reported(planner, ("stage=report", "experiment=original/v4"))).items()


@pytest.mark.parametrize(
    ("texts", "tasks"),
    [
        (("task=[perplexity,humaneval]",), ["perplexity", "humaneval"]),
        (("eval=code", "task=[perplexity,humaneval]"), ["perplexity", "humaneval"]),
        ((), ["perplexity", "samples"]),
    ],
)
def test_tasks_are_measured_beside_an_experiment_of_another_stage(
    texts: tuple[str, ...], tasks: list[str], planner: Planner
) -> None:
    made = configs(reported(planner, ("stage=eval", "experiment=best", *texts)))
    assert list(made["generate"].task) == list(made["eval"].task) == tasks


def experiment(root: Path, stage: str, values: str, choices: str = "") -> tuple[str, ...]:
    """The words that choose an experiment of the user's that names a stage."""
    file = root / "own/experiment/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\ndefaults: [override /stage: {stage}{choices}]\n{values}\n")
    return "--config-dir", "own", "experiment=mine"


@pytest.mark.parametrize("target", [(), ("stage=pretrain",), ("stage=ladder",)])
def test_what_the_stage_of_an_experiment_does_not_depend_on_is_refused(
    target: tuple[str, ...], albor, tmp_path: Path
) -> None:
    words = experiment(
        tmp_path, "report", "name: mine\noptim:\n  lr: 3e-3\ntrainer: {max_steps: 500}\nallow: [C-DATA-001]"
    )
    done = albor("plan", *words, *target)
    assert done.code == 2 and done.err.count("error[E-OVERRIDE]") == 2
    for word in (
        "own/experiment/mine.yaml:5",
        "mine.yaml:6",
        "stage=report, which",
        "override /stage: pretrain",
        "name no stage",
    ):
        assert word in done.err, word


def test_a_choice_that_the_stage_of_an_experiment_does_not_depend_on_is_refused(albor, tmp_path: Path) -> None:
    words = experiment(tmp_path, "report", "name: mine", ", override /optim: muon, override /model: small")
    done = albor("plan", *words)
    assert done.code == 2 and done.err.count("error[E-OVERRIDE]") == 1 and "`optim`: it reaches nothing" in done.err
    assert albor("plan", *words, "optim=adamw").code == 0, "the command line chooses, for the stage that reads it"


@pytest.mark.parametrize("target", ["pretrain", "eval", "distill", "report", "quantize", "ladder", "prepare"])
@pytest.mark.parametrize("name", ["best", "speedrun"])
def test_experiments_of_ours_go_with_every_target(name: str, target: str, planner: Planner) -> None:
    assert reported(planner, (f"stage={target}", f"experiment={name}")).target.stage.name == target


def test_an_experiment_chooses_tasks(albor, tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\n# Mine.\ndefaults: [override /stage: pretrain, override /task: [humaneval]]\n"
    )
    done = albor("--config-dir", str(tmp_path / "conf"), "stage=eval", "experiment=mine", "--cfg", "job")
    assert "  humaneval:" in done.out and "  perplexity:" not in done.out


def test_an_experiment_that_names_no_stage_reaches_every_stage(albor, tmp_path: Path) -> None:
    import json

    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /model: small]\n"
        "name: mine\noptim: {lr: 0.25}\ndata: {fim_rate: 0.125, seq_len: 256}\n"
    )
    plain = json.loads(albor("plan", "--json", "stage=report", "model=small").out)
    done = albor("plan", "--config-dir", "own", "stage=report", "experiment=mine", "--json")
    made = {n["stage"]: n for n in json.loads(done.out)["nodes"]}
    assert done.code == 0
    differ = [n["stage"] for n in plain["nodes"] if made[n["stage"]]["id"] != n["id"]]
    assert differ == ["pack", "pretrain", "generate", "eval", "report"]
    assert made["report"]["run"].startswith("mine-") and not made["pack"]["run"].startswith("mine-")


def test_values_that_a_file_leaves_open_reach_every_stage(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "src" / "package").mkdir(parents=True)
    (tmp_path / "src" / "package" / "a.py").write_text("x = 1\n")
    for stage in ("prepare", "pack", "pretrain", "report"):
        plan = reported(
            planner,
            (f"stage={stage}", "data=local", "data.source.roots=[src]", "data.source.licence=MIT", "optim.lr=0.5")
            if stage in ("pretrain", "report")
            else (f"stage={stage}", "data=local", "data.source={roots: [src], licence: MIT}"),
        )
        made = configs(plan)
        assert {c.data.source.kind for c in made.values()} == {"local"}
        assert plan.target.stage.name == stage
        if "pretrain" in made:
            assert made["pretrain"].optim.lr == 0.5 and made["pack"].optim.lr != 0.5


def test_a_tokenizer_of_hugging_face_reaches_every_stage(planner: Planner) -> None:
    given = ("tokenizer=hf", "tokenizer.path=somewhere/x", "tokenizer.vocab_size=50000")
    for stage in ("tokenizer", "pack", "pretrain", "report"):
        plan = reported(planner, (f"stage={stage}", *given))
        assert {c.tokenizer.vocab_size for c in configs(plan).values()} == {50_000}
        assert {c.model.vocab_size for c in configs(plan).values()} == {50_000}
    assert "prepare" not in configs(reported(planner, ("stage=tokenizer", *given)))
    plan = reported(planner, (*given, "tokenizer.fim_prefix='<P>'", "up.pack.data.fim_rate=0"))
    assert configs(plan)["tokenizer"].tokenizer.fim_prefix == "<P>"  # type: ignore[union-attr]
    assert configs(plan)["pack"].data.fim_rate == 0


@pytest.mark.parametrize("model", ["tiny", "50m"])
def test_a_budget_in_tokens_displaces_the_default(model: str, planner: Planner) -> None:
    trainer = configs(reported(planner, (f"model={model}", "trainer.tokens=1B")))["pretrain"].trainer
    assert (trainer.tokens, trainer.max_steps, trainer.tokens_per_param) == (10**9, None, None)
    trainer = configs(reported(planner, (f"model={model}", "trainer.max_steps=9")))["pretrain"].trainer
    assert (trainer.tokens, trainer.max_steps, trainer.tokens_per_param) == (None, 9, None)


def test_inputs_given_by_hand_replace_what_would_be_built(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    plan = reported(planner, ("stage=pretrain", "inputs.rows=rows"))
    assert [n.stage.name for n in plan.nodes] == ["prepare", "tokenizer", "pretrain"]
    assert set(plan.target.inputs) == {"rows", "tokenizer"}
    plan = reported(planner, ("stage=pretrain", "inputs={rows: rows, tokenizer: rows}"))
    assert [n.stage.name for n in plan.nodes] == ["pretrain"]
    assert reported(planner, ("stage=pretrain",)).target.id != plan.target.id


def test_what_is_replaced_takes_no_values(albor, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    done = albor("validate", "stage=pretrain", "inputs.rows=rows", "data.fim_rate=0")
    assert done.code == 2 and "data.fim_rate" in done.err
    assert albor("validate", "stage=pretrain", "inputs.rows=rows", "up.pack.data.fim_rate=0").code == 2


def test_another_stage_to_report_on(planner: Planner) -> None:
    assert configs(reported(planner, ("stage=eval", "eval.of=pretrain"))).keys() == {*CHAIN} - {"report"}
    assert reported(planner, ("up.generate.eval.of=pretrain",)).target.id == reported(planner, ()).target.id


def test_weights_from_the_hub_are_named_without_their_prefix(planner: Planner) -> None:
    given = reported(planner, ("stage=pretrain", "init_from=hf:org/name")).target.inputs["init_from"]
    assert isinstance(given, External)
    assert (given.id, str(given.path), given.stage) == ("hf:org/name", "org/name", "hub")
    with pytest.raises(AlborError, match="only weights"):
        reported(planner, ("stage=pretrain", "inputs.rows=hf:org/name"))
