"""Every contract: a config that breaks it, one that does not, its severity, and what lets it pass."""

from __future__ import annotations

import itertools
import re

import pytest

from albor.contracts import CONTRACTS, causes, check_all
from albor.contracts.distillation import LEARNING
from albor.contracts.memory import largest_micro_batch, state_bytes, training_bytes


def mix(*parts: str) -> str:
    return f"data={{name: x, source: {{kind: mix, parts: {{{', '.join(parts)}}}}}}}"


def pypi(sha256: str) -> str:
    return f"data={{name: x, source: {{kind: pypi, packages: {{six: {{version: '1.17.0', sha256: '{sha256}'}}}}}}}}"


def alert(keys: str) -> tuple[str, ...]:
    """An alert `x` in a run of ten thousand steps, at a vocabulary of 8,192 (ln V = 9.011)."""
    return ("trainer.max_steps=10000", "trainer.warmup_steps=100", "optim.lr=1e-3", f"alerts.x={{{keys}}}")


GPU = ("model=350m", "data.num_sequences=100M")
QWEN = ("model=350m", "teacher=qwen2_5_coder_3b", "distill=forward_kl")
BREAKS = [
    # contract, stage, severity, path, overrides that break it, overrides that just do not
    ("C-TRAINCFG-001", "error", "trainer.max_steps",
     ("data.num_sequences=799", "trainer.max_steps=100", "trainer.micro_batch_size=8", "trainer.warmup_steps=1"),
     ("data.num_sequences=800", "trainer.max_steps=100", "trainer.micro_batch_size=8", "trainer.warmup_steps=1")),
    ("C-TRAINCFG-001", "error", "trainer.micro_batch_size",
     ("data.num_sequences=7", "trainer.micro_batch_size=8"),
     ("data.num_sequences=8", "trainer.micro_batch_size=8", "trainer.max_steps=1", "trainer.warmup_steps=0")),
    ("C-TRAINCFG-001", "error", "trainer.warmup_steps",
     ("trainer.max_steps=100", "trainer.warmup_steps=100"),
     ("trainer.max_steps=100", "trainer.warmup_steps=99")),
    ("C-TRAINCFG-001", "warning", "trainer.warmup_steps",
     ("trainer.max_steps=100", "trainer.warmup_steps=11"),
     ("trainer.max_steps=100", "trainer.warmup_steps=10")),
    ("C-TRAINCFG-001", "warning", "trainer.tokens_per_param",
     ("trainer.tokens_per_param=9.9",), ("trainer.tokens_per_param=10.1",)),
    ("C-TRAINCFG-002", "warning", "optim.schedule", ("optim.schedule=constant",), ("optim.schedule=wsd",)),
    ("C-TRAINCFG-003", "error", "trainer.grad_accum",
     (*GPU, "data.seq_len=1024", "trainer.micro_batch_size=63", "trainer.grad_accum=1"),
     (*GPU, "data.seq_len=1024", "trainer.micro_batch_size=64", "trainer.grad_accum=1")),
    ("C-TRAINCFG-004", "warning", "trainer.save_every",
     ("trainer.max_steps=100", "trainer.save_every=101"), ("trainer.max_steps=100", "trainer.save_every=100")),
    ("C-TRAINCFG-006", "warning", "trainer.keep_best",
     ("trainer.keep_best=1", "trainer.save_every=40", "trainer.val_every=60"),
     ("trainer.keep_best=1", "trainer.save_every=20", "trainer.val_every=60")),
    ("C-TRAINCFG-005", "error", "trainer", ("trainer.tokens=1M", "trainer.max_steps=5"), ("trainer.tokens=1M",)),
    ("C-TRAINCFG-005", "error", "trainer", ("trainer.max_steps=null",), ("trainer.max_steps=5",)),
    ("C-TRAINCFG-005", "error", "trainer.tokens", ("trainer.tokens=100",), ("trainer.tokens=100k",)),
    ("C-MODEL-001", "error", "model.num_attention_heads",
     ("model.num_attention_heads=5", "model.num_key_value_heads=5"),
     ("model.num_attention_heads=4", "model.num_key_value_heads=4")),
    ("C-MODEL-001", "error", "model.num_attention_heads",
     ("model.num_attention_heads=64", "model.num_key_value_heads=64"),
     ("model.num_attention_heads=32", "model.num_key_value_heads=32")),
    ("C-MODEL-001", "error", "model.num_key_value_heads",
     ("model.num_key_value_heads=4",), ("model.num_key_value_heads=3",)),
    ("C-MODEL-002", "error", "model.vocab_size", ("model.vocab_size=8191",), ("model.vocab_size=8192",)),
    ("C-MODEL-003", "error", "data.seq_len",
     ("data.seq_len=2049",), ("data.seq_len=2048",)),
    ("C-DATA-001", "error", "data.seq_len", ("data={row_len: 256, seq_len: 257}",), ("data={row_len: 9, seq_len: 9}",)),
    ("C-DATA-001", "warning", "data.seq_len", ("data={row_len: 257, seq_len: 256}",),
     ("data={row_len: 256, seq_len: 256}",)),
    ("C-DATA-002", "error", "data.fim_rate",
     ("tokenizer=hf", "tokenizer.path=x", "tokenizer.vocab_size=9000"),
     ("tokenizer=hf", "tokenizer.path=x", "tokenizer.vocab_size=9000", "data.fim_rate=0")),
    ("C-DATA-003", "error", "tokenizer.vocab_size", ("tokenizer.vocab_size=271",), ("tokenizer.vocab_size=272",)),
    ("C-FIT-001", "error", "trainer.micro_batch_size",
     (*GPU, "hardware=rtx4090", "trainer.micro_batch_size=64"), (*GPU, "hardware=h200")),
    ("C-FIT-002", "error", "hardware.disk", (*GPU, "hardware.disk=15GB"), (*GPU, "hardware.disk=16GB")),
    ("C-HW-001", "error", "trainer.precision",
     (*GPU, "hardware=a100", "trainer.precision=fp8"), (*GPU, "hardware=a100", "trainer.precision=bf16")),
    ("C-HW-001", "error", "trainer.precision",
     (*GPU, "hardware.peak_flops.bf16=null"), (*GPU, "hardware.peak_flops.bf16=1e12")),
    ("C-HW-002", "warning", "hardware", ("hardware=h200",), ("hardware=cpu",)),
    ("C-HW-003", "error", "trainer.devices",
     ("trainer.accelerator=mps", "trainer.devices=2"), ("trainer.devices=2", "trainer.nodes=2")),
    ("C-HW-004", "warning", "trainer.strategy",
     ("trainer.strategy=fsdp",), ("trainer.strategy=fsdp", "trainer.nodes=2")),
    ("C-HW-005", "error", "trainer.document_mask",
     (*GPU, "trainer.document_mask=true", "trainer.compile=false"), (*GPU, "trainer.document_mask=true")),
    ("C-OPTIM-001", "error", "optim.kind", ("optim=muon", "trainer.strategy=fsdp"), ("trainer.strategy=fsdp",)),
    ("C-OPTIM-001", "error", "optim.kind", ("optim=muon", "trainer.strategy=fsdp"), ("optim=muon",)),
    ("C-ALERT-001", "error", "alerts.x", alert("metric: loss"), alert("metric: loss, above: 10")),
    ("C-ALERT-001", "error", "alerts.x.url_env",
     alert("metric: loss, above: 10, action: webhook"),
     alert("metric: loss, above: 10, action: webhook, url_env: HOOK")),
    ("C-ALERT-001", "error", "alerts.x.url_env",
     alert("metric: loss, above: 10, url_env: 'https://example.org/secret'"),
     alert("metric: loss, above: 10, url_env: ALBOR_HOOK_2")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: loss, above: 9, action: stop"), alert("metric: loss, above: 10, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: loss, above: 9, action: stop"), alert("metric: loss, above: 9, action: stop, from_step: 2")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: loss, above: 9, action: stop, for_steps: 9"), alert("metric: loss, below: 8, action: stop")),
    ("C-ALERT-001", "warning", "alerts.x.above", alert("metric: loss, above: 9"), alert("metric: loss, above: 10")),
    ("C-ALERT-001", "error", "alerts.x.below",
     alert("metric: val_loss, below: 9, action: stop"), alert("metric: val_loss, below: 8, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: val_ppl, above: 8000, action: stop"), alert("metric: val_ppl, above: 11000, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: grad_norm, above: 9, action: stop"), alert("metric: grad_norm, above: 10, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: grad_norm_clipped, above: 0.9, action: stop"),
     alert("metric: grad_norm_clipped, above: 1, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.below",
     alert("metric: lr, below: 2e-5, action: stop"), alert("metric: lr, below: 9e-6, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.above",
     alert("metric: loss, above: 1, times_ema: true, action: stop"),
     alert("metric: loss, above: 1.5, times_ema: true, action: stop")),
    ("C-ALERT-001", "error", "alerts.x.below",
     alert("metric: tokens_per_second, below: 10, action: stop"),
     alert("metric: tokens_per_second, below: 10, for_steps: 2, action: stop")),
    ("C-DATA-005", "error", "data.val_fraction", ("data.val_fraction=0",), ("data.val_fraction=0.01",)),
    ("C-DATA-005", "error", "data.val_fraction", ("data.val_fraction=1",), ("data.val_fraction=0.99",)),
    ("C-DATA-005", "error", "data.val_fraction",
     ("data.val_fraction=1",), ("data.val_fraction=1", "data.held_out=[json]")),
    ("C-DATA-007", "error", "data.source.parts", (mix(),), (mix("a: {source: {kind: stdlib}}"),)),
    ("C-DATA-007", "error", "data.source.parts.b.weight",
     (mix("a: {source: {kind: stdlib}, weight: 1}", "b: {source: {kind: stdlib}}"),),
     (mix("a: {source: {kind: stdlib}, weight: 1}", "b: {source: {kind: stdlib}, weight: 2}"),)),
    ("C-DATA-008", "warning", "data.dedup.bands",
     ("data.dedup.bands=25", "data.dedup.rows=10"), ("data.dedup.bands=32", "data.dedup.rows=8")),
    ("C-DATA-012", "error", "data.filters.min_characters",
     ("data.filters.min_characters=9", "data.filters.max_characters=8"),
     ("data.filters.min_characters=9", "data.filters.max_characters=9")),
    ("C-DATA-012", "error", "data.filters.licences", ("data.filters.licences=[]",), ("data.filters.licences=[MIT]",)),
    ("C-DATA-009", "error", "data.source.packages.six.sha256",
     (pypi("0" * 63),), (pypi("0" * 64),)),
    ("C-DATA-010", "error", "data.source.licence",
     ("data=local", "data.source.roots=[x]", "data.source.licence='Apache 2.0'"),
     ("data=local", "data.source.roots=[x]", "data.source.licence=Apache-2.0")),
    ("C-DATA-010", "error", "data.source.licence",
     ("data=local", "data.source.roots=[x]", "data.source.licence=GPL-3.0-only"),
     ("data=local", "data.source.roots=[x]", "data.source.licence=GPL-3.0-only",
      "data.filters.licences=[GPL-3.0-only]")),
    ("C-DATA-010", "error", "data.source.licence",
     ("data=jsonl", "data.source.paths=[x.jsonl]", "data.source.licence=null"),
     ("data=jsonl", "data.source.paths=[x.jsonl]", "data.source.licence=null", "data.source.licence_column=l")),
    ("C-DATA-010", "error", "data.source.licence",
     ("data=babylm", "data.filters.licences=[MIT]"), ("data=babylm",)),
    ("C-DATA-010", "error", "data.source.parts.a.source.licence",
     (mix("a: {source: {kind: files, paths: [x.jsonl], licence: mit}}"),),
     (mix("a: {source: {kind: files, paths: [x.jsonl], licence: MIT}}"),)),
    ("C-DISTILL-001", "error", "teacher",
     (*QWEN,), (*QWEN, "teacher.vocab_size=32768")),
    ("C-DISTILL-001", "error", "teacher",
     (*QWEN,), (*QWEN, "distill=alignment")),
    ("C-DISTILL-002", "warning", "teacher.licence",
     (*QWEN,), (*QWEN, "teacher=qwen3_5_35b_a3b")),
    ("C-DISTILL-003", "warning", "teacher", ("model=small",), ("model=tiny",)),
    ("C-DISTILL-004", "error", "data.seq_len",
     ("up.teacher.model.max_position_embeddings=511",), ("up.teacher.model.max_position_embeddings=512",)),
    ("C-DISTILL-006", "error", "distill.divergence",
     ("distill=offline", "distill.divergence=reverse_kl"), ("distill.divergence=reverse_kl",)),
    ("C-DISTILL-006", "error", "distill.divergence",
     ("distill=offline", "distill.divergence=reverse_kl"), ("distill=offline",)),
    ("C-DISTILL-006", "error", "distill.divergence",
     ("distill=alignment", "distill.divergence=reverse_kl"), ("distill=alignment",)),
    ("C-DISTILL-007", "error", "distill.keep",
     ("distill=offline", "data.num_sequences=200k"), ("distill=sampled", "data.num_sequences=200k")),
    ("C-DISTILL-008", "error", "teacher.backend",
     (*QWEN, "distill=text", "teacher.backend=vllm"), (*QWEN, "distill=text")),
    ("C-MERGE-001", "error", "stage.of",
     ("stage.of=[pretrain,distill]", "up.pretrain.model.qk_norm=true"), ("stage.of=[pretrain,distill]",)),
    ("C-MERGE-002", "error", "stage.of", ("stage.of=[pretrain]",), ("stage.of=[pretrain,distill]",)),
    ("C-MERGE-002", "error", "stage.of",
     ("merge=linear", "merge.weights=[1]"), ("merge=linear", "merge.weights=[1,2]")),
    ("C-FINETUNE-001", "error", "trainer.precision", ("trainer.precision=fp8",), ("trainer.precision=bf16",)),
    ("C-FINETUNE-001", "error", "trainer.strategy",
     ("objective=dpo", "finetune=full", "trainer.strategy=fsdp", "trainer.devices=2"),
     ("finetune=full", "trainer.strategy=fsdp", "trainer.devices=2")),
    ("C-PRUNE-001", "error", "prune", ("prune.bytes=2MB",), ("prune.bytes=2.1MB",)),
    ("C-PRUNE-001", "error", "prune",
     ("prune=wanda_2_4", "prune.sparsity=0.4"), ("prune=wanda_2_4", "prune.sparsity=0.5")),
    ("C-PRUNE-002", "warning", "prune", ("prune=wanda",), ("prune=depth",)),
    ("C-SERVE-001", "error", "stage.host", ("stage.host=0.0.0.0",), ("stage.host=0.0.0.0", "stage.key_env=KEY")),
    ("C-SERVE-001", "error", "stage.host", ("stage.host=server",), ("stage.host='::1'",)),
]  # fmt: skip
STAGE = {
    "C-DATA-002": "pack",
    "C-DATA-003": "tokenizer",
    "C-DISTILL-007": "teacher_logits",
    "C-DISTILL-008": "teacher_text",
} | {
    contract: stage
    for stage, contracts in {
        "prepare": ("C-DATA-005", "C-DATA-007", "C-DATA-008", "C-DATA-009", "C-DATA-010", "C-DATA-012"),
        "distill": tuple(f"C-DISTILL-00{n}" for n in (1, 2, 3, 4, 5, 6)),
        "finetune": ("C-FINETUNE-001",),
        "merge": ("C-MERGE-001", "C-MERGE-002"),
        "prune": ("C-PRUNE-001", "C-PRUNE-002"),
        "serve": ("C-SERVE-001",),
    }.items()
    for contract in contracts
}


def found(case, contract: str, texts) -> list[tuple[str, str]]:
    stage = STAGE.get(contract, "pretrain")
    return [(f.severity, f.path) for f in check_all(case(*texts, stage=stage)) if f.id == contract]


def row(entry) -> str:
    return f"{entry[0]} {' '.join(entry[3])}"


@pytest.mark.contract(BREAKS, level=2)
@pytest.mark.parametrize("entry", BREAKS, ids=row)
def test_fires_and_does_not(entry, case) -> None:
    contract, severity, path, breaks, holds = entry
    assert (severity, path) in found(case, contract, breaks)
    assert (severity, path) not in found(case, contract, holds)


@pytest.mark.parametrize("entry", [e for e in BREAKS if e[1] == "error"], ids=row)
def test_allow_lets_an_error_pass_as_a_warning(entry, case) -> None:
    contract, _, path, breaks, _ = entry
    severities = {s for s, p in found(case, contract, [*breaks, f"allow=[{contract}]"]) if p == path}
    assert severities == {"warning"}
    assert ("error", path) in found(case, contract, [*breaks, "allow=[C-OTHER-001]"])


@pytest.mark.contract(BREAKS, level=2)
@pytest.mark.parametrize("entry", BREAKS, ids=row)
def test_findings_say_what_to_change(entry, case) -> None:
    contract, _, _, breaks, _ = entry
    made = case(*breaks, stage=STAGE.get(contract, "pretrain"))
    for finding in CONTRACTS[contract].findings(made):
        assert finding.message and finding.help
        assert finding.message[0].islower() or finding.message[0].isdigit() or finding.message[0] in "C~"


def test_warnings_pass_unless_strict(albor) -> None:
    words = ("stage=pretrain", "optim.schedule=constant")
    loose = albor("validate", *words)
    assert (loose.code, "warning[C-TRAINCFG-002]" in loose.err) == (0, True)
    strict = albor("validate", *words, "--strict")
    assert strict.code == 2 and "--strict" in strict.err
    assert albor("plan", *words, "--strict").code == 2
    assert albor(*words, "--strict").code == 2
    assert albor("validate", "-m", *words, "seed=1,2", "--strict").code == 2


def test_errors_are_shown_before_warnings(case) -> None:
    severities = [f.severity for f in check_all(case("optim.schedule=constant", "model.num_key_value_heads=4"))]
    assert severities == sorted(severities) and {"error", "warning"} == set(severities)


@pytest.mark.contract("C-ALERT-001", level=2)
def test_the_originals_alert_is_refused_with_a_threshold_that_works(albor) -> None:
    words = ("stage=pretrain", "model=350m", "data.num_sequences=100M", "hardware=h200")
    refused = albor("validate", *words, "alerts.x={metric: loss, above: 10, action: stop}")
    assert refused.code == 2 and "10.397" in refused.err and "alerts.x.above=12" in refused.err
    accepted = albor("validate", *words, "alerts.x={metric: loss, above: 12, action: stop}")
    assert accepted.code == 0 and "C-ALERT-001" not in accepted.err


@pytest.mark.contract("C-ALERT-001", level=2)
def test_trained_weights_start_with_a_loss_of_their_own(case) -> None:
    stop = alert("metric: loss, above: 5, action: stop")
    assert found(case, "C-ALERT-001", (*stop, "init_from=x")) == []
    for stage in ("distill", "finetune", "prune"):
        assert not [f for f in check_all(case(*stop, stage=stage)) if f.id == "C-ALERT-001"]
    alone = check_all(case(*stop, "stage.of=null", stage="distill"))
    assert [f.severity for f in alone if f.id == "C-ALERT-001"] == ["error"]


@pytest.mark.contract("C-ALERT-001", level=2)
def test_bits_per_byte_are_known_once_the_rows_are(case) -> None:
    made = alert("metric: val_bits_per_byte, above: 3, action: stop")
    facts = {"rows": {"val_tokens": 1_000, "val_bytes": 4_000, "num_sequences": 10**9}}  # 13 bits in 4 bytes
    fires = [CONTRACTS["C-ALERT-001"].findings(case(*made, inputs=i)) for i in ({}, facts)]
    assert fires[0] == [] and "alerts.x.above=3.7" in fires[1][0].help


@pytest.mark.contract("C-ALERT-001", level=2)
def test_the_shipped_alerts_are_quiet_everywhere(case) -> None:
    for model in ("tiny", "50m", "350m"):
        for optim in ("adamw", "muon"):
            assert found(case, "C-ALERT-001", (f"model={model}", f"optim={optim}")) == []


def test_causes_of_a_plateau_begin_with_what_the_config_breaks(case) -> None:
    v3 = causes(case("experiment=original/v3"))
    assert [line.split(" ")[0] for line in v3[:2]] == ["C-TRAINCFG-002", "C-TRAINCFG-003"]
    assert all("(so in this config)" in line for line in v3[:2]) and "4,096 tokens a step" in v3[1]
    both = ("trainer.max_steps=100", "trainer.warmup_steps=100", "trainer.epochs=1", "data.num_sequences=100")
    lines = [line for line in causes(case(*both)) if line.startswith("C-TRAINCFG-001 (so in this config): ")]
    assert len(lines) == 1 and re.search(r"; (a warmup|the warmup|[\d,]+ tokens)", lines[0])
    sound = causes(case("trainer.tokens_per_param=20", "trainer.warmup_steps=30"))
    assert [line.split(":")[0] for line in sound] == [
        "C-TRAINCFG-002",
        "C-TRAINCFG-003",
        "C-TRAINCFG-001",
        "optim.lr",
    ]


@pytest.mark.contract("C-TRAINCFG-001", level=2)
def test_declared_rows_are_held_against_the_steps(albor) -> None:
    words = ("stage=pretrain", "data.num_sequences=799", "trainer.micro_batch_size=8", "trainer.warmup_steps=5")
    refused = albor("validate", *words, "trainer.max_steps=100")
    assert refused.code == 2 and "trainer.epochs=2" in refused.err
    assert albor("validate", *words, "trainer.max_steps=100", "trainer.epochs=2").code == 0


@pytest.mark.contract("C-DATA-006", level=2)
def test_more_words_than_the_cap(case) -> None:
    for words, fires in ((101, True), (100, False)):
        made = case("data.max_words=100", stage="pack", inputs={"documents": {"words": {"train": words, "val": 9}}})
        assert bool(CONTRACTS["C-DATA-006"].findings(made)) == fires


@pytest.mark.contract("C-DATA-010", level=2)
@pytest.mark.parametrize(
    ("stated", "named"),
    [("Apache 2.0", "Apache-2.0"), ("mit", "MIT"), ("BSD-3-Clauses", "BSD-3-Clause")],
)
def test_the_nearest_licence_is_named(stated: str, named: str, case) -> None:
    made = case("data=local", "data.source.roots=[x]", f"data.source.licence='{stated}'", stage="prepare")
    (finding,) = CONTRACTS["C-DATA-010"].findings(made)
    assert finding.help == f"data.source.licence={named}"


@pytest.mark.contract("C-DATA-011", level=2)
def test_nothing_to_validate_on(case) -> None:
    for rows, fires in ((0, True), (1, False)):
        packed = case(inputs={"rows": {"val_sequences": rows}})
        prepared = case(stage="pack", inputs={"documents": {"documents": {"train": 1, "val": rows}}})
        for made in (packed, prepared):
            assert bool(CONTRACTS["C-DATA-011"].findings(made)) == fires


@pytest.mark.contract("C-DATA-004", level=2)
@pytest.mark.parametrize("stage", ["pretrain", "generate"])
def test_inputs_made_with_different_tokenizers(stage: str, case) -> None:
    for other, fires in (("b", True), ("a", False)):
        inputs = {"rows": {"tokenizer_sha256": "a"}, "tokenizer": {"tokenizer_sha256": other}}
        found = [f for f in check_all(case(stage=stage, inputs=inputs)) if f.id == "C-DATA-004"]
        assert [(f.severity, "rows and tokenizer" in f.message) for f in found] == [("error", True)] * fires


@pytest.mark.contract("C-DISTILL-001", level=2)
@pytest.mark.parametrize(
    ("theirs", "fires"),
    [({"tokenizer_sha256": "b"}, True), ({"tokenizer_sha256": "a"}, False), ({"vocab_size": 9}, True),
     ({"model_config": {"vocab_size": 9}}, True), ({"model_config": {"vocab_size": 8_192}}, False), ({}, False)],
)  # fmt: skip
def test_a_teacher_of_other_tokens(theirs, fires: bool, case) -> None:
    made = case(stage="distill", inputs={"tokenizer": {"tokenizer_sha256": "a"}, "teacher": theirs})
    assert [f.severity for f in CONTRACTS["C-DISTILL-001"].findings(made)] == ["error"] * fires


@pytest.mark.contract("C-DISTILL-001", "C-DISTILL-002", "C-DISTILL-004", level=2)
@pytest.mark.parametrize(
    ("route", "stage"),
    [("online", "distill"), ("offline", "teacher_logits"), ("alignment", "teacher_logits"), ("text", "teacher_text")],
)
def test_the_stage_that_asks_the_teacher_is_the_one_that_is_warned(route: str, stage: str, case) -> None:
    words = (*QWEN, f"distill.route={route}", "data.seq_len=2048", "teacher.context=2047", "data.row_len=2048")
    warned = {s: {f.id for f in check_all(case(*words, stage=s)) if "DISTILL" in f.id} for s in LEARNING}
    own = {"C-DISTILL-001", "C-DISTILL-004"} if route in ("online", "offline") else set()
    assert warned == {s: own | {"C-DISTILL-002"} if s == stage else set() for s in LEARNING}


@pytest.mark.contract("C-DISTILL-005", level=2)
def test_chunks_are_stored_as_they_are(case) -> None:
    for changes, path in (
        ({}, None),
        ({"keep": "top_k"}, "distill.keep"),
        ({"temperature": 4.0}, "distill.temperature"),
    ):
        facts = {"rows": "a", "seq_len": 512, "temperature": 1.0, "keep": "chunks", **changes}
        made = case("distill=alignment", stage="distill", inputs={"rows": {"artifact": "a"}, "logits": facts})
        assert [f.path for f in CONTRACTS["C-DISTILL-005"].findings(made)] == ([path] if path else [])


@pytest.mark.contract("C-DISTILL-005", level=2)
@pytest.mark.parametrize(
    ("logits", "path"),
    [({}, None), ({"rows": "a", "seq_len": 512, "temperature": 4.0, "keep": "top_k"}, None),
     ({"rows": "b"}, "inputs.logits"), ({"seq_len": 511}, "data.seq_len"), ({"seq_len": 513}, None),
     ({"temperature": 1.0}, "distill.temperature"), ({"keep": "sampled"}, "distill.keep")],
)  # fmt: skip
def test_logits_of_another_making(logits, path: str | None, case) -> None:
    made = case("distill=offline", stage="distill", inputs={"rows": {"artifact": "a"}, "logits": logits})
    assert [f.path for f in CONTRACTS["C-DISTILL-005"].findings(made)] == ([path] if path else [])


@pytest.mark.contract("C-MERGE-001", level=2)
def test_models_of_two_tokenizers(case) -> None:
    for other, fires in (("b", True), ("a", False)):
        inputs = {"model_1": {"tokenizer_sha256": "a"}, "model_2": {"tokenizer_sha256": other}}
        assert bool(CONTRACTS["C-MERGE-001"].findings(case(stage="merge", inputs=inputs))) == fires


@pytest.mark.contract("C-MODEL-004", level=2)
def test_weights_of_another_shape(case) -> None:
    theirs = {"model_config": {"hidden_size": 192, "vocab_size": 9_000}}
    found = check_all(case(inputs={"init_from": theirs}))
    assert [(f.id, f.severity, f.path) for f in found if f.id == "C-MODEL-004"] == [
        ("C-MODEL-004", "error", "model.vocab_size")
    ]
    [other] = CONTRACTS["C-MODEL-004"].findings(case(inputs={"init_from": {"model_config": {"qk_norm": True}}}))
    assert (other.path, other.help) == ("model.qk_norm", "model.qk_norm=true, or other weights")


@pytest.mark.parametrize(
    ("texts", "fix"),
    [
        (("model.num_attention_heads=5", "model.num_key_value_heads=1"), "model.num_attention_heads"),
        (("model.num_key_value_heads=4",), "model.num_key_value_heads"),
        (("data.seq_len=4096",), "data.seq_len"),
        (("trainer.max_steps=50", "trainer.warmup_steps=50"), "trainer.warmup_steps"),
        (("model=125m", "trainer.grad_accum=1", "trainer.micro_batch_size=1"), "trainer.grad_accum"),
        (("model=350m", "hardware=rtx4090"), "trainer.micro_batch_size"),
        (("trainer.max_steps=100", "trainer.save_every=101"), "trainer.save_every"),
        (("alerts.x={metric: loss, above: 9, action: stop}",), "alerts.x.above"),
        (("alerts.x={metric: val_ppl, above: 8000, action: stop}",), "alerts.x.above"),
        (("alerts.x={metric: lr, below: 0.1, action: stop}",), "alerts.x.below"),
        (("alerts.x={metric: mfu, below: 0.1, action: stop}",), "alerts.x.from_step"),
    ],
)
def test_following_the_help_ends_the_finding(texts, fix, case) -> None:
    finding = next(f for f in check_all(case(*texts)) if fix in f.help)
    proposed = next(
        p.rstrip(";,.") for p in finding.help.replace(",", " ").replace(";", " ").split() if p.startswith(fix)
    )
    after = case(*[t for t in texts if not t.startswith(f"{fix}=")], proposed)
    assert not [f for f in check_all(after) if (f.id, f.path) == (finding.id, finding.path)]


@pytest.mark.contract("C-MODEL-002", "C-DATA-001", "C-DATA-002", level=2)
def test_planned_inputs_count_before_they_are_built(planner) -> None:
    """What a value makes of a stage upstream is held against the stage that uses it, before anything is built."""

    def found(*texts: str) -> set[tuple[str, str]]:
        return {(n.stage.name, f.id) for n in planner.plan(("stage=report", *texts)).nodes for f in n.findings}

    assert ("pretrain", "C-MODEL-002") in found("tokenizer.vocab_size=4096")
    assert ("pretrain", "C-MODEL-002") not in found("tokenizer.vocab_size=4096", "model.vocab_size=4096")
    assert ("pretrain", "C-DATA-001") in found("data.row_len=1024")
    assert ("pretrain", "C-DATA-001") in found("up.pack.data.row_len=64")
    assert ("pretrain", "C-DATA-001") not in found("data.row_len=512")
    hf = ("tokenizer=hf", "tokenizer.path=x", "tokenizer.vocab_size=9000")
    named = [f"tokenizer.fim_{k}='<{k}>'" for k in ("prefix", "suffix", "middle")]
    assert ("pack", "C-DATA-002") in found(*hf)
    assert ("pack", "C-DATA-002") not in found(*hf, *named)


@pytest.mark.contract("C-DATA-001", level=2)
def test_rows_of_answers_are_as_long_as_what_is_read_of_them_and_pairs_are_never_cut(case) -> None:
    def found(*texts: str) -> list[tuple[str, str]]:
        made = check_all(case(*texts, stage="finetune"))
        return [(f.severity, f.help) for f in made if f.id == "C-DATA-001"]

    long_rows = "data.row_len=2048"
    assert found("data.seq_len=256") == [("warning", "data.seq_len=512, or up.instructions.data.seq_len=256")]
    assert found("up.pack." + long_rows) == found(long_rows, "objective=dpo") == []
    assert found("objective=dpo", "data.seq_len=256") == [
        ("error", "data.seq_len=512, or up.preferences.data.seq_len=256")
    ]
    assert found("objective=dpo", "data.seq_len=256", "up.preferences.data.seq_len=256") == []


@pytest.mark.contract("C-FIT-001", level=2)
def test_the_largest_micro_batch_is_the_largest(case) -> None:
    for words in itertools.product(
        ("model=tiny", "model=125m", "model=350m"),
        ("hardware=cpu", "hardware=rtx4090", "hardware=h200"),
        ("optim=adamw", "optim=muon"),
    ):
        cfg = case(*words).cfg
        most = largest_micro_batch(cfg.model, cfg.trainer, cfg.data.seq_len, cfg.hardware.memory, cfg.optim)
        assert most > 0
        for batch, fits in ((most, True), (most + 1, False)):
            made = case(*words, f"trainer.micro_batch_size={batch}")
            assert (not CONTRACTS["C-FIT-001"].findings(made)) == fits
            need = training_bytes(made.cfg.model, made.cfg.trainer, made.cfg.data.seq_len, made.cfg.optim)
            assert (need <= 0.92 * cfg.hardware.memory) == fits


@pytest.mark.parametrize("words", [("model=tiny",), ("model=350m",), ("model=350m", "model.qk_norm=true")])
def test_muon_has_one_moment_for_the_matrices_of_the_blocks(words, case) -> None:
    adamw, muon = (case(*words, f"optim={name}").cfg for name in ("adamw", "muon"))
    shape = adamw.model
    norms = 2 * shape.hidden_size + (2 * shape.head_width if shape.qk_norm else 0)
    elsewhere = shape.vocab_size * shape.hidden_size + shape.num_hidden_layers * norms + shape.hidden_size
    by_adamw = (16 if adamw.trainer.precision == "float32" else 18) * shape.num_parameters
    assert state_bytes(shape, adamw.trainer, adamw.optim) == by_adamw
    assert state_bytes(shape, muon.trainer, muon.optim) == by_adamw - 4 * (shape.num_parameters - elsewhere)


RECOVERIES = [
    ("C-FIT-001", "trainer.micro_batch_size",
     ("model=350m", "hardware=rtx4090", "prune=depth"), ("model=350m", "hardware=h200", "prune=depth")),
    ("C-TRAINCFG-001", "trainer.max_steps",
     ("trainer.max_steps=999", "data.num_sequences=400"), ("trainer.max_steps=99", "data.num_sequences=400")),
    ("C-TRAINCFG-005", "trainer", ("trainer.tokens=1M", "trainer.max_steps=9"), ("trainer.tokens=1M",)),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "path", "breaks", "holds"), RECOVERIES)
def test_what_a_pruned_model_learns_again_is_training(contract, path, breaks, holds, case) -> None:
    def errors(*texts: str) -> set[tuple[str, str]]:
        return {(f.id, f.path) for f in check_all(case(*texts, stage="prune")) if f.severity == "error"}

    assert (contract, path) in errors(*breaks)
    assert (contract, path) not in errors(*holds)
    assert (contract, path) not in errors(*breaks, "stage.recover=false")
    assert (contract, path) not in errors(*breaks, "prune=wanda")


def test_a_teacher_beside_the_student_needs_memory(case) -> None:
    sizes = {1.5e9: False, 1.8e9: True}  # bf16, beside the 20.7 GiB that the student needs of 0.92 · 26 GiB
    for parameters, refused in sizes.items():
        made = case(
            "model=50m", "hardware.memory=26GiB", stage="distill", inputs={"teacher": {"parameters": parameters}}
        )
        found = [f for f in check_all(made) if f.id == "C-FIT-001"]
        assert bool(found) == refused, (parameters, found)
        assert not found or "GiB of it by the teacher" in found[0].message
    stored = case("model=50m", "hardware.memory=26GiB", "distill=offline", stage="distill",
                  inputs={"teacher": {"parameters": 10**10}})  # fmt: skip
    assert not [f for f in check_all(stored) if f.id == "C-FIT-001"]
