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
