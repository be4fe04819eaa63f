"""A run's id is the hash of what determines its result, and of nothing else."""

from __future__ import annotations

import dataclasses
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import albor.stages.pack
from albor.plan.keys import keys
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver
from albor.stages import base as stages
from tests.plan.reports import reported

CHAIN = ["prepare", "tokenizer", "pack", "pretrain", "generate", "eval", "report"]
FREE = (
    "name=me",
    "outputs=elsewhere",
    "tracking=none",
    "tracking.project=other",
    "tracking.tags=[a,b]",
    "executor.workers=7",
    "hardware=h200",
    "hardware.mfu=0.123",
    "alerts=none",
    "alerts.loss_spike=null",
    "alerts={mine: {metric: loss, above: 12, action: stop}}",
    "allow=[C-FIT-001]",
    "refused_by=[C-FIT-001]",
    "trainer.profile=true",
    "trainer.log_every=3",
    "trainer.save_every=201",
    "trainer.keep_last=3",
    "trainer.keep_best=1",
    "trainer.hang_after=2m",
    "model.name=other",
    "data.name=other",
    "tokenizer.name=other",
    "eval.name=other",
    "eval.batch_size=7",
    "eval.sandbox=none",
    "eval.workers=3",
    "eval.endpoint_key_env=KEY",
    "data.num_sequences=12345",
    "up.pack.name=x",
)
"""Recorded in the manifest, never part of an id."""
DETERMINING = {
    "trainer.compile=true": "pretrain",
    # override → the first stage that it changes; all after it change too
    "seed=7": "prepare",
    "data.max_documents=99": "prepare",
    "data.val_fraction=0.5": "prepare",
    "data.filters.min_characters=51": "prepare",
    "data.filters.max_characters=99999": "prepare",
    "data.filters.max_line_length=999": "prepare",
    "data.filters.max_mean_line_length=99": "prepare",
    "data.filters.min_alphanumeric=0.26": "prepare",
    "data.filters.licences=[PSF-2.0]": "prepare",
    "data.filters.syntax=false": "prepare",
    "data.filters.secrets=false": "prepare",
    "data.dedup.near=false": "prepare",
    "data.dedup.threshold=0.71": "prepare",
    "data.dedup.shingle=6": "prepare",
    "data.dedup.bands=33": "prepare",
    "data.dedup.rows=7": "prepare",
    "data.max_words=1B": "prepare",
    "data.held_out=[json]": "prepare",
    "evals.data_dir=benchmarks": "prepare",
    "tokenizer.vocab_size=8191": "tokenizer",
    "tokenizer.train_bytes=1MiB": "tokenizer",
    "data.row_len=1024": "pack",
    "data.fim_rate=0.51": "pack",
    "data.fim_spm_rate=0.51": "pack",
    "data.fim_line_rate=0.5": "pack",
    "data.fim_min_tokens=64": "pack",
    "model.hidden_size=96": "pretrain",
    "model.num_hidden_layers=7": "pretrain",
    "model.num_attention_heads=12": "pretrain",
    "model.num_key_value_heads=3": "pretrain",
    "model.intermediate_size=513": "pretrain",
    "model.vocab_size=8193": "pretrain",
    "model.max_position_embeddings=2049": "pretrain",
    "model.rope_theta=10001": "pretrain",
    "model.rms_norm_eps=1e-6": "pretrain",
    "model.initializer_range=0.021": "pretrain",
    "model.qk_norm=true": "pretrain",
    "model.head_dim=64": "pretrain",
    "model.dropout=0.1": "pretrain",
    "trainer.strategy=fsdp": "pretrain",
    "trainer.activation_checkpointing=true": "pretrain",
    "trainer.document_mask=true": "pretrain",
    "trainer.z_loss=1e-4": "pretrain",
    "data.seq_len=511": "pretrain",
    "optim.lr=0.00021": "pretrain",
    "optim.betas=[0.9,0.96]": "pretrain",
    "optim.eps=2e-8": "pretrain",
    "optim.weight_decay=0.11": "pretrain",
    "optim.clip_norm=1.1": "pretrain",
    "optim.zclip=2.5": "pretrain",
    "optim.schedule=wsd": "pretrain",
    "optim.min_lr_ratio=0.11": "pretrain",
    "optim.decay_fraction=0.21": "pretrain",
    "trainer.max_steps=301": "pretrain",
    "trainer.tokens=1M": "pretrain",
    "trainer.tokens_per_param=2": "pretrain",
    "trainer.epochs=17": "pretrain",
    "trainer.warmup_steps=29": "pretrain",
    "trainer.micro_batch_size=9": "pretrain",
    "trainer.grad_accum=2": "pretrain",
    "trainer.accelerator=cuda": "pretrain",
    "trainer.devices=2": "pretrain",
    "trainer.nodes=2": "pretrain",
    "trainer.precision=bf16": "pretrain",
    "trainer.deterministic=true": "pretrain",
    "trainer.val_every=101": "pretrain",
    "trainer.val_rows=101": "pretrain",
    "task=samples": "generate",
    "eval.samples=3": "generate",
    "eval.limit=3": "generate",
    "eval.endpoint_model=x": "generate",
    "eval.threshold=99": "eval",
    "eval.seconds=99": "eval",
    "eval.memory=2GiB": "eval",
    "eval.python=python3": "eval",
    "eval.max_rows=99": "generate",
    "eval.prompts=[x]": "generate",
    "eval.max_new_tokens=65": "generate",
    "eval.temperature=0.21": "generate",
    "eval.top_p=0.94": "generate",
}
RUNGS = ("distill", "finetune", "merge", "prune", "quantize")
BY_STUDENTS = {
    # what is said of the target quantize → the rungs whose runs it changes
    "distill.temperature=2": RUNGS,
    "distill.alpha=0.4": RUNGS,
    "distill.divergence=reverse_kl": RUNGS,
    "distill.top_k=64": RUNGS,
    "distill.samples=11": RUNGS,
    "distill.tau=50": RUNGS,
    "distill.text_share=0.2": RUNGS,
    "teacher.model=tiny": RUNGS,
    "up.distill.stage.of=null": RUNGS,
    "instructions.max_examples=9": RUNGS[1:],
    "instructions.doctests_only=true": RUNGS[1:],
    "finetune.r=8": RUNGS[1:],
    "finetune.alpha=8": RUNGS[1:],
    "finetune.dropout=0": RUNGS[1:],
    "finetune.targets=[q_proj]": RUNGS[1:],
    "finetune.dora=true": RUNGS[1:],
    "up.finetune.stage.of=pretrain": RUNGS[1:],
    "merge.t=0.5": RUNGS[2:],
    "merge=linear": RUNGS[2:],
    "up.merge.stage.of=[pretrain,finetune]": RUNGS[2:],
    "prune=width": RUNGS[3:],
    "prune.bytes=2.9MB": RUNGS[3:],
    "prune.calibration_rows=9": RUNGS[3:],
    "prune.multiple=64": RUNGS[3:],
    "prune.share=0.7": RUNGS[3:],
    "prune.matrices=q5_0": RUNGS[3:],
    "prune.embedding=q5_0": RUNGS[3:],
    "prune.overhead=3000": RUNGS[3:],
    "prune.head_ratio=0.5": RUNGS[3:],
    "prune.num_attention_heads=3": RUNGS[3:],
    "up.prune.stage.recover=false": RUNGS[3:],
    "up.prune.trainer.max_steps=9": RUNGS[3:],
    "quantize=q5_0": RUNGS[4:],
    "quantize.embedding=q5_0": RUNGS[4:],
    "stage.of=merge": RUNGS[4:],
}
OF_ONE_METHOD = {
    # keys that one choice of their group has → a target and that choice
    "merge.weights=[1,3]": ("stage=merge", "merge=linear"),
    "merge.normalise=false": ("stage=merge", "merge=linear"),
    "merge.scale=0.5": ("stage=merge", "merge=ties"),
    "merge.density=0.3": ("stage=merge", "merge=dare"),
    "merge.rescale=false": ("stage=merge", "merge=dare"),
    "merge.variant=ties": ("stage=merge", "merge=dare"),
    "stage.base=distill": ("stage=merge", "merge=ties"),
    "prune.sparsity=0.4": ("stage=prune", "prune=wanda"),
    "prune.pattern=2:4": ("stage=prune", "prune=magnitude"),
    "prune.dampening=0.02": ("stage=prune", "prune=sparsegpt"),
    "prune.block=64": ("stage=prune", "prune=sparsegpt"),
    "prune.ratio=0.5": ("stage=prune", "prune=depth"),
    "prune.layers=3": ("stage=prune", "prune=depth"),
    "prune.intermediate_size=64": ("stage=prune", "prune=width"),
    "instructions.val_fraction=0.2": ("stage=instructions", "instructions=jsonl", "instructions.path=x"),
    "instructions.skip_malformed=true": ("stage=instructions", "instructions=jsonl", "instructions.path=x"),
    "instructions.path=y": ("stage=instructions", "instructions=jsonl"),
    "distill.keep=sampled": ("stage=teacher_logits",),
    "stage.check_batches=9": ("stage=teacher_logits",),
    "stage.shard_tokens=1k": ("stage=teacher_logits",),
    "distill.route=offline": ("stage=distill",),
    "distill.route=alignment": ("stage=teacher_logits",),
    "stage.max_functions=9": ("stage=teacher_text",),
    "stage.doctests_only=true": ("stage=teacher_text",),
    "stage.samples=2": ("stage=teacher_text",),
    "stage.temperature=0": ("stage=teacher_text",),
    "stage.top_p=0.5": ("stage=teacher_text",),
    "stage.max_new_tokens=99": ("stage=teacher_text",),
    "stage.batch_size=9": ("stage=teacher_text",),
    "distill.text_share=0.3": ("stage=teacher_text",),
    "teacher.model=tiny": ("stage=teacher_text",),
    "ladder.rungs.base=distill": ("stage=ladder",),
    "ladder.overrides=['seed=7']": ("stage=ladder",),
    "stage.evaluated=false": ("stage=export",),
    "stage.dtype=float32": ("stage=export",),
    "stage.gguf=[f16]": ("stage=export",),
    "stage.licence=mit": ("stage=export",),
    "stage.base_models=[a/b]": ("stage=export",),
    "up.export.stage.of=pretrain": ("stage=publish", "stage.repo=a/b"),
    "stage.repo=c/d": ("stage=publish", "stage.repo=a/b"),
    "stage.dry_run=false": ("stage=publish", "stage.repo=a/b"),
    "stage.private=false": ("stage=publish", "stage.repo=a/b"),
    "stage.revision=v1": ("stage=publish", "stage.repo=a/b"),
    **dict.fromkeys((
        "stage.default=q4", "stage.host=localhost", "stage.port=9", "stage.key_env=K",
        "stage.slots=9", "stage.waiting=9", "stage.timeout=9", "stage.drain=9", "stage.max_body=9", "stage.fim=psm",
    ), ("stage=serve",)),
    **dict.fromkeys((
        "stage.device=cpu", "stage.threads=[3]", "stage.rows=[3]", "stage.prompt_tokens=9", "stage.new_tokens=9",
        "stage.rounds=9", "stage.peers=false",
    ), ("stage=bench",)),
}  # fmt: skip
PREFER = ("preferences", "finetune dpo")
BY_PREFERENCE = {
    # what is said of the target finetune objective=dpo → the runs that it changes
    "objective.beta=0.2": PREFER[1:],
    "finetune=full": PREFER[1:],
    "optim.lr=0.5": PREFER[1:],
    "preferences.samples=9": PREFER,
    "preferences.temperature=0.7": PREFER,
    "preferences.top_p=0.9": PREFER,
    "preferences.max_new_tokens=99": PREFER,
    "preferences.max_problems=9": PREFER,
    "preferences.pairs_per_problem=9": PREFER,
    "preferences.val_fraction=0.2": PREFER,
    "preferences.reference=false": PREFER,
    "up.instruct.optim.lr=0.5": ("finetune", *PREFER),
    "up.instruct.stage.of=pretrain": ("finetune", *PREFER),
    "up.distill.optim.lr=0.5": ("distill", "finetune", *PREFER),
    "up.pretrain.optim.lr=0.5": ("pretrain", "distill", "finetune", *PREFER),
    "instructions.max_examples=9": ("instructions", "finetune", *PREFER),
    "data.row_len=1024": ("pack", "pretrain", "distill", "finetune", *PREFER),
}
QWEN = ("stage=distill", "model=350m", "teacher=qwen2_5_coder_3b")
OF_THE_HUB = (
    "repo=a/b", "revision=x", "vocab_size=32768", "parameters=9", "active_parameters=9", "context=9000", "licence=MIT",
    "commercial=true", "backend=vllm",
)  # fmt: skip
"""Keys of a teacher that is not albor's."""
ELSEWHERE = {"init_from", "inputs", "stage.name", "stage.models",
             "eval.of", "eval.endpoint", "task",
             "executor.stages.time", "executor.stages.setup", "executor.stages.options", "executor.stages.cpus",
             "executor.stages.memory", "executor.stages.signal", "executor.stages.partition",
             "optim.kind", "optim.matrix_lr", "optim.momentum", "optim.newton_schulz_steps",
             "tokenizer.kind", "executor.kind", "teacher.kind", "merge.kind", "instructions.kind", "finetune.kind",
             "objective.kind", "prune.kind", "quantize.kind", "ladder.name"}  # fmt: skip
"""Keys that other tests are about, or that have a single value."""


def ids(planner: Planner, *texts: str) -> dict[str, str]:
    return {n.stage.name: n.id for n in reported(planner, texts).nodes}


@pytest.mark.parametrize("text", FREE)
def test_what_is_recorded_does_not_change_ids(text: str, planner: Planner) -> None:
    assert ids(planner, text) == ids(planner)


@pytest.mark.parametrize("text", DETERMINING)
def test_what_determines_a_result_changes_its_id_and_all_that_follow(text: str, planner: Planner) -> None:
    before, after = ids(planner), ids(planner, text)
    changed = [s for s in CHAIN if before[s] != after[s]]
    first = DETERMINING[text]
    downstream = CHAIN[CHAIN.index(first) :]
    assert changed == downstream


@pytest.mark.parametrize("text", BY_STUDENTS)
def test_what_determines_a_rung_changes_it_and_those_above(text: str, planner: Planner) -> None:
    before, after = ids(planner, "stage=quantize"), ids(planner, "stage=quantize", text)
    assert [s for s in RUNGS if before.get(s) != after.get(s) and s in after] == [
        s for s in BY_STUDENTS[text] if s in after
    ]
    assert before["prepare"] == after["prepare"] and before["pack"] == after["pack"]


@pytest.mark.parametrize("text", BY_PREFERENCE)
def test_what_determines_preferences_changes_them_and_what_learns_from_them(text: str, planner: Planner) -> None:
    def runs(*texts: str) -> dict[str, str]:
        *nodes, target = planner.plan(("stage=finetune", "objective=dpo", *texts)).nodes
        found = {n.stage.name: n.id for n in nodes if n.config.model.name == "tiny"}  # the teacher is another
        return found | {"finetune dpo": target.id}

    before, after = runs(), runs(text)
    assert {s for s in before if s in after and before[s] != after[s]} == {*BY_PREFERENCE[text]} & after.keys()
    assert before["prepare"] == after["prepare"] and before["tokenizer"] == after["tokenizer"]


@pytest.mark.parametrize("text", OF_ONE_METHOD)
def test_what_one_method_has_determines_its_runs(text: str, planner: Planner) -> None:
    target = OF_ONE_METHOD[text]
    given = target if text.startswith("instructions.path") is False else (*target, "instructions.path=x")
    assert planner.plan(given).target.id != planner.plan((*given, text)).target.id


@pytest.mark.parametrize("text", OF_THE_HUB)
def test_another_teacher_is_another_run(text: str, planner: Planner) -> None:
    assert planner.plan(QWEN).target.id != planner.plan((*QWEN, f"teacher.{text}")).target.id


def test_every_key_is_on_one_of_the_lists() -> None:
    tried = {t.split("=")[0] for t in (*FREE, *DETERMINING)} | ELSEWHERE
    tried |= {re.sub(r"^up\.\w+\.", "", t).split("=")[0] for t in (*BY_STUDENTS, *BY_PREFERENCE, *OF_ONE_METHOD)}
    tried |= {f"teacher.{t.split('=')[0]}" for t in OF_THE_HUB} | {"ladder.rungs"}
    owners = ("HfTokenizer", "PeakFlops", "Hardware", "Tracking", "SlurmExecutor", "RayExecutor", "Archive", "Part")
    assert {k for k, key in keys().items() if key.owner not in owners and not k.startswith("data.source.")} <= tried


@given(texts=st.lists(st.sampled_from(list(DETERMINING)), max_size=5, unique_by=lambda t: t.split("=")[0]))
@settings(max_examples=40)
def test_the_same_config_has_the_same_id_in_any_order_and_company(texts: list[str], resolver: Resolver) -> None:
    shuffled = random.Random(len(texts)).sample(texts, len(texts))
    noise = random.Random(str(texts)).sample(FREE, 4)
    assert ids(Planner(resolver), *texts) == ids(Planner(resolver), *shuffled, *noise)


@given(
    a=st.sets(st.sampled_from([t for t in DETERMINING if "tokens" not in t]), max_size=4),
    b=st.sets(st.sampled_from([t for t in DETERMINING if "tokens" not in t]), max_size=4),
)
@settings(max_examples=40)
def test_different_configs_have_different_ids(a: set[str], b: set[str], resolver: Resolver) -> None:
    one, other = ids(Planner(resolver), *sorted(a)), ids(Planner(resolver), *sorted(b))
    assert (one["report"] == other["report"]) == (a == b)


def test_a_value_spelt_otherwise_is_the_same_value(planner: Planner) -> None:
    same = [("optim.lr=2e-3", "optim.lr=0.002"), ("trainer.tokens=1M", "trainer.tokens=1_000_000"),
            ("data.row_len=1024", "++data.row_len=1024"), ("data.max_documents=1k", "data.max_documents=1000"),
            ("optim.clip_norm=1", "optim.clip_norm=1.0"), ("seed=7", "seed=7.0")]  # fmt: skip
    for a, b in same:
        assert ids(planner, a) == ids(planner, b), (a, b)


def test_the_default_written_out_is_the_default(planner: Planner) -> None:
    assert ids(planner, "seed=42", "model=tiny", "stage=report", "++optim.eps=1e-8") == ids(planner)
    assert ids(planner, "data.row_len=null") == ids(planner)
    assert ids(planner, "stage=pretrain").items() <= ids(planner).items()


def test_a_new_version_of_a_stage_has_new_ids(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids(planner)
    bumped = dataclasses.replace(albor.stages.pack.STAGE, version=albor.stages.pack.STAGE.version + 1)
    monkeypatch.setattr(albor.stages.pack, "STAGE", bumped)
    stages.find.cache_clear()
    try:
        after = ids(Planner(planner.resolver))
    finally:
        monkeypatch.undo()
        stages.find.cache_clear()
    assert [s for s in CHAIN if before[s] != after[s]] == ["pack", "pretrain", "generate", "eval", "report"]


def test_sources_are_known_by_their_content(planner: Planner, tmp_path) -> None:
    source = tmp_path / "src" / "package"
    source.mkdir(parents=True)
    (source / "a.py").write_text("x = 1\n")
    texts = ("stage=prepare", "data=local", "data.source.roots=[src]", "data.source.licence=MIT")
    before = ids(planner, *texts)
    assert ids(Planner(planner.resolver), *texts) == before
    (source / "a.py").write_text("y = 22\n")
    assert ids(Planner(planner.resolver), *texts) != before
    assert ids(planner, *texts[:-1], "data.source.licence=GPL-3.0") != before


def test_steps_follow_from_a_budget_by_tokens(planner: Planner) -> None:
    """Another batch is another run, though the tokens are the same."""
    assert ids(planner, "trainer.tokens=1M", "trainer.grad_accum=2") != ids(planner, "trainer.tokens=1M")


@pytest.mark.parametrize("text", ["optim.matrix_lr=1e-3", "optim.momentum=0.9", "optim.newton_schulz_steps=6"])
def test_what_muon_alone_has_determines_its_runs(text: str, planner: Planner) -> None:
    muon, changed = ids(planner, "optim=muon"), ids(planner, "optim=muon", text)
    assert len({ids(planner)["pretrain"], muon["pretrain"], changed["pretrain"]}) == 3


def test_the_order_of_a_mix_is_part_of_its_id(planner: Planner) -> None:
    one, other = "a: {source: {kind: stdlib}, copies: 10}", "b: {source: {kind: stdlib}}"
    mixes = [f"data={{name: x, source: {{kind: mix, parts: {{{parts}}}}}}}" for parts in
             (f"{one}, {other}", f"{other}, {one}")]  # fmt: skip
    first, second = (ids(planner, "stage=prepare", mix) for mix in mixes)
    assert first != second


def test_points_that_differ_in_their_benchmarks_differ(planner: Planner, tmp_path) -> None:
    found = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "items.txt").write_text(f"one item {name}\n")
        found.add(ids(planner, f"evals.data_dir={tmp_path / name}")["prepare"])
    assert len(found) == 2
