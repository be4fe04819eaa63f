"""Targets that a target is made from: a teacher, the rungs of a ladder."""

from __future__ import annotations

from pathlib import Path

import pytest

from albor.config.problems import ConfigRefused
from albor.plan.nodes import Node, Plan, Planner

DISTILL = ("stage=distill", "model=tiny")
LADDER = ("stage=ladder",)


def node(plan: Plan, stage: str, model: str = "tiny") -> Node:
    (found,) = [n for n in plan.nodes if n.stage.name == stage and n.config.model.name == model]
    return found


def refusals(planner: Planner, *texts: str) -> list[str]:
    with pytest.raises(ConfigRefused) as refused:
        planner.plan(texts)
    return [f"{p.path}: {p.cause}; {p.help}" for p in refused.value.problems]


def test_a_teacher_is_another_model_on_the_same_rows(planner: Planner) -> None:
    plan = planner.plan(DISTILL)
    teacher, student = node(plan, "pretrain", "small"), node(plan, "pretrain")
    distill = plan.target
    assert distill.inputs["teacher"] is teacher and distill.inputs["init_from"] is student
    for name in ("rows", "tokenizer"):
        assert distill.inputs[name] is teacher.inputs[name] is student.inputs[name]
    assert [n.stage.name for n in plan.nodes] == ["prepare", "tokenizer", "pack", "pretrain", "pretrain", "distill"]


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        (("tokenizer.vocab_size=8000", "model.vocab_size=8000"), ["tokenizer"]),
        (("data.val_fraction=0.5",), ["prepare", "tokenizer"]),
        (("up.pack.data.fim_rate=0",), ["pack"]),
        (("tokenizer=bpe_32k",), ["tokenizer"]),
        (("seed=7",), ["prepare", "pack"]),
    ],
)
def test_what_both_are_made_from_stays_the_same_run(planner: Planner, texts: tuple[str, ...], alike: list[str]) -> None:
    before, after = planner.plan(DISTILL), planner.plan((*DISTILL, *texts))
    assert len(after.nodes) == len(before.nodes)
    for stage in alike:
        stages = [[n for n in plan.nodes if n.stage.name == stage] for plan in (before, after)]
        assert [len(found) for found in stages] == [1, 1] and stages[0][0].id != stages[1][0].id


def test_a_command_line_speaks_of_the_teacher_alone(planner: Planner) -> None:
    before = planner.plan(DISTILL)
    plan = planner.plan((*DISTILL, "up.teacher.trainer.max_steps=77", "up.teacher.optim=muon"))
    teacher = node(plan, "pretrain", "small")
    assert teacher.config.trainer.max_steps == 77 and teacher.choices["optim"] == "muon"
    assert node(plan, "pretrain").id == node(before, "pretrain").id
    student = planner.plan((*DISTILL, "up.pretrain.trainer.max_steps=77"))
    assert node(student, "pretrain", "small").id == node(before, "pretrain", "small").id
    assert node(student, "pretrain").config.trainer.max_steps == 77


def test_values_of_the_target_are_its_own(planner: Planner) -> None:
    plan = planner.plan((*DISTILL, "trainer.max_steps=77", "optim.lr=0.5"))
    assert plan.target.config.trainer.max_steps == 77
    assert {n.config.trainer.max_steps for n in plan.nodes if n.stage.name == "pretrain"} == {360}


def test_mistakes_are_named_as_they_were_typed(planner: Planner) -> None:
    found = refusals(planner, *DISTILL, "up.teachr.seed=3", "up.teacher.optm.lr=3", "up.teacher.optim=muonn")
    assert any("did you mean up.teacher?" in text for text in found)
    assert any(text.startswith("optm.lr") and "optim.lr" in text for text in found)
    assert any("muonn" in text for text in found)
    with pytest.raises(ConfigRefused) as refused:
        planner.plan((*DISTILL, "up.teacher.optm.lr=3"))
    assert refused.value.problems[0].origin == "override up.teacher.optm.lr=3"
    assert any("nothing in stage=pretrain" in t for t in refusals(planner, *DISTILL, "up.teacher.eval.limit=3"))


def test_a_teacher_that_is_there_is_not_built(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "vocab_size": 9}')
    plan = planner.plan((*DISTILL, f"inputs.teacher={tmp_path}"))
    assert [n.config.model.name for n in plan.nodes if n.stage.name == "pretrain"] == ["tiny"]
    assert [f.id for _, f in plan.errors] == ["C-DISTILL-001"]


BY_350M = ("stage=distill", "model=350m", "data=pypi")


def test_a_larger_teacher_of_another_family(planner: Planner) -> None:
    plan = planner.plan(BY_350M)
    scored = plan.target.inputs["logits"]
    assert isinstance(scored, Node) and scored.inputs["teacher"].id == "hf:Qwen/Qwen2.5-Coder-3B@main"
    assert not plan.errors and [f.id for n, f in plan.warnings if n is scored] == ["C-DISTILL-002"]


def test_other_tokens_are_refused_with_the_ways_out(planner: Planner) -> None:
    plan = planner.plan((*BY_350M, "distill=forward_kl"))
    assert plan.target.inputs["teacher"].id == "hf:Qwen/Qwen2.5-Coder-3B@main"
    assert {f.id for _, f in plan.errors} == {"C-DISTILL-001"}
    [(_, refused)] = plan.errors
    for way in ("distill=alignment", "distill=text", "teacher=albor"):
        before = ("distill=forward_kl",) if way == "teacher=albor" else ()
        assert way in refused.help and not planner.plan((*BY_350M, *before, way)).errors
    assert "C-DISTILL-002" in {f.id for _, f in plan.warnings}


def test_vllm_computes_what_it_can(planner: Planner) -> None:
    assert not planner.plan((*BY_350M, "teacher.backend=vllm")).errors
    for way, refused in (("distill=text", {"C-DISTILL-008"}), ("distill=offline", {"C-DISTILL-001", "C-DISTILL-008"})):
        assert {f.id for _, f in planner.plan((*BY_350M, way, "teacher.backend=vllm")).errors} == refused


@pytest.mark.parametrize(
    ("changed", "again"),
    [("distill.tau=9", False), ("distill.temperature=9", False), ("distill.alpha=0.1", False),
     ("teacher.revision=x", True)],
)  # fmt: skip
def test_what_a_teacher_found_likely_serves_any_student(changed: str, again: bool, planner: Planner) -> None:
    before, after = (planner.plan((*BY_350M, *texts)).target for texts in ((), (changed,)))
    assert before.id != after.id
    assert (before.inputs["logits"].id != after.inputs["logits"].id) == again


def test_rungs_share_what_they_are_made_from(planner: Planner) -> None:
    plan = planner.plan(LADDER)
    models = [n for n in plan.nodes if n.stage.name == "pretrain" and n.config.model.name == "tiny"]
    assert len(models) == 1
    measured = [n for n in plan.nodes if n.stage.name == "eval"]
    assert len(measured) == len(plan.target.inputs) == len(plan.target.config.ladder.rungs)
    assert len({n.directory for n in plan.nodes}) == len(plan.nodes)


def test_what_is_said_of_one_stage_reaches_it_in_every_rung(planner: Planner) -> None:
    plan = planner.plan(
        (*LADDER, "up.distill.trainer.max_steps=77", "up.teacher.trainer.max_steps=5", "eval.max_rows=4")
    )
    assert node(plan, "distill").config.trainer.max_steps == 77
    assert node(plan, "pretrain", "small").config.trainer.max_steps == 5
    assert {n.config.eval.max_rows for n in plan.nodes if n.stage.name == "generate"} == {4}


def test_what_may_mean_several_rungs_is_asked_for(planner: Planner) -> None:
    (found,) = refusals(planner, *LADDER, "trainer.max_steps=9")
    assert "several stages depend on" in found and "up.distill.trainer.max_steps=9" in found
    (found,) = refusals(planner, *LADDER, "up.distil.optim.lr=3")
    assert "did you mean up.distill?" in found
    (found,) = refusals(planner, *LADDER, "up.distill.eval.limit=3")
    assert "distill does not depend on" in found


def test_a_model_cannot_be_its_own_beginning(planner: Planner) -> None:
    (found,) = refusals(planner, *DISTILL, "stage.of=distill")
    assert "stage.of: a stage cannot be made from itself: distill ← distill" in found
    (found,) = refusals(planner, *DISTILL, "stage.of=pack")
    assert "pack makes rows" in found


# --- an export, of a model that is measured first or as it is ---


def test_an_export_is_made_of_an_evaluation_of_its_model(planner: Planner) -> None:
    plan = planner.plan(("stage=export", "model=tiny"))
    evaluation = plan.target.inputs["evaluation"]
    assert list(plan.target.inputs) == ["evaluation"] and isinstance(evaluation, Node)
    assert evaluation.id == planner.plan(("stage=eval", "eval.of=merge", "model=tiny")).target.id
    assert [n.stage.name for n in plan.nodes][-4:] == ["merge", "generate", "eval", "export"]


@pytest.mark.parametrize("text", ["seed=7", "data.seq_len=256", "up.finetune.optim.lr=0.5", "merge=linear"])
def test_the_same_model_is_exported_with_and_without_an_evaluation(planner: Planner, text: str) -> None:
    measured = planner.plan(("stage=export", text))
    plain = planner.plan(("stage=export", "stage.evaluated=false", text))
    assert plain.target.inputs["model"] is node(plain, "merge")
    assert node(plain, "merge").id == node(measured, "merge").id
    assert not {"generate", "eval"} & {n.stage.name for n in plain.nodes}


@pytest.mark.parametrize("evaluated", ["true", "false"])
def test_an_export_of_a_directory(planner: Planner, tmp_path: Path, evaluated: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    plan = planner.plan(("stage=export", f"stage.evaluated={evaluated}", f"inputs.model={tmp_path}"))
    reader = node(plan, "generate") if evaluated == "true" else plan.target
    assert reader.inputs["model"].id.startswith("files:")
    assert not {"pretrain", "merge"} & {n.stage.name for n in plan.nodes}


def test_rungs_are_measured_on_rows_that_are_given(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    plan = planner.plan((*LADDER, f"inputs.tokenizer={tmp_path}"))
    assert "tokenizer" not in {n.stage.name for n in plan.nodes}
    assert any("did you mean inputs.tokenizer?" in text for text in refusals(planner, *LADDER, "inputs.tokeniser=x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage.of=mergee", "did you mean 'merge'?"),
        ("stage.of=pack", "pack makes rows, and export needs a model"),
        ("stage.of=export", "made from itself"),
        ("inputs.modl=x", "did you mean inputs.model?"),
        ("optim.lr=1e-3", "say which: up."),
    ],
)
def test_mistakes_about_an_export_are_named(planner: Planner, text: str, said: str) -> None:
    assert any(said in found for found in refusals(planner, "stage=export", text))


# --- preferences ---

DPO = ("stage=finetune", "objective=dpo")


def test_preferences_are_of_the_model_that_learns_from_them(planner: Planner) -> None:
    plan = planner.plan(DPO)
    preferences, target = plan.nodes[-2:]
    taught = target.inputs["init_from"]
    assert isinstance(taught, Node) and taught.stage.name == "finetune"
    assert preferences.inputs["init_from"] is taught and target.inputs["rows"] is preferences
    assert [taught.config.objective.kind, target.config.objective.kind] == ["sft", "dpo"]
    assert taught.id == planner.plan(DPO[:1]).target.id and not plan.errors
    examples = taught.inputs["rows"]
    assert isinstance(examples, Node)
    for name in ("documents", "tokenizer"):
        assert preferences.inputs[name] is examples.inputs[name]


def test_what_is_said_of_the_taught_model_and_of_what_is_only_upstream_of_it_reaches_them(planner: Planner) -> None:
    said = (
        "trainer.epochs=2",
        "up.instruct.trainer.epochs=5",
        "up.distill.optim.lr=0.5",
        "instructions.max_examples=7",
    )
    plan = planner.plan((*DPO, *said, "finetune=full", "model.hidden_size=96", "preferences.samples=3"))
    preferences, target = plan.nodes[-2:]
    taught = target.inputs["init_from"]
    assert isinstance(taught, Node)
    assert (taught.config.trainer.epochs, target.config.trainer.epochs) == (5, 2)
    assert (taught.config.finetune.kind, target.config.finetune.kind) == ("lora", "full")
    assert {n.config.model.hidden_size for n in plan.nodes if n.stage.name in ("distill", "finetune")} == {96}
    assert node(plan, "distill").config.optim.lr == 0.5 and preferences.config.preferences.samples == 3
    assert vars(node(plan, "instructions").config.instructions)["max_examples"] == 7
    examples = planner.plan((*DPO, "instructions=jsonl", "instructions.path=x.jsonl"))
    assert node(examples, "instructions").config.instructions.kind == "jsonl"


def test_a_model_with_preferences_is_measured_and_merged_like_any_other(planner: Planner) -> None:
    plan = planner.plan(("stage=eval", "eval.of=finetune", "objective=dpo"))
    assert [n.config.objective.kind for n in plan.nodes if n.stage.name == "finetune"] == ["sft", "dpo"]
    ladder = planner.plan((*LADDER, "objective=dpo"))
    kinds = [n.config.objective.kind for n in ladder.nodes if n.stage.name == "finetune"]
    assert kinds == ["sft", "dpo"] and not [f for n, f in ladder.errors if n.stage.name in ("finetune", "preferences")]


def test_one_model_given_is_both_the_one_that_answers_and_the_one_that_learns(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    plan = planner.plan((*DPO, f"inputs.init_from={tmp_path}"))
    assert [n.stage.name for n in plan.nodes] == ["prepare", "tokenizer", "preferences", "finetune"]
    assert plan.nodes[-2].inputs["init_from"].id == plan.target.inputs["init_from"].id


def test_a_choice_that_nothing_depends_on_is_refused(planner: Planner) -> None:
    (found,) = refusals(planner, "stage=pretrain", "objective=dpo")
    assert found.startswith("objective: nothing in stage=pretrain or upstream of it depends on") and "finetune" in found
    assert not planner.plan(("stage=merge", "objective=dpo")).errors
    (found,) = refusals(planner, *LADDER, "up.instruct.optim.lr=1")
    assert "'instruct' is not a stage" in found


def test_what_a_file_leaves_open_reaches_other_targets(planner: Planner, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    local = ("data=local", f"data.source.roots=[{tmp_path / 'src'}]", "data.source.licence=MIT")
    for target in (DISTILL, DPO):
        plan = planner.plan((*target, *local))
        assert {n.config.data.name for n in plan.nodes} == {"local"}
        assert len([n for n in plan.nodes if n.stage.name == "prepare"]) == 1
