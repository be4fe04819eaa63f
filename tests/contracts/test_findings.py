"""Every word that a contract says, as it was when somebody read it last: ``findings.txt``.

python -m tests.contracts.test_findings    # writes it anew; read the difference before committing it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from albor.config.compose import Composer
from albor.contracts import CONTRACTS, Case
from albor.plan.resolver import Resolver

from .conftest import maker
from .test_contracts import BREAKS, STAGE, alert

FINDINGS = Path(__file__).with_name("findings.txt")
MUON_350M = ("model=350m", "optim=muon", "data.num_sequences=100M")
MORE: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    # (stage, overrides, what inputs say of themselves)
    ("pretrain", ("trainer.max_steps=100", "trainer.warmup_steps=250"), {}),
    ("pretrain", ("trainer.max_steps=null",), {}),
    ("pretrain", ("trainer.max_steps=5", "trainer.tokens=1M", "trainer.tokens_per_param=2"), {}),
    ("pretrain", ("trainer.tokens=1M",), {}),
    ("pretrain", ("trainer.epochs=3", "trainer.max_steps=400"), {"rows": {"num_sequences": 1000, "row_len": 512}}),
    ("pretrain", (*MUON_350M, "hardware=rtx4090", "hardware.memory=1GB"), {}),
    ("pretrain", (*MUON_350M, "hardware=rtx4090", "trainer.micro_batch_size=64"), {}),
    ("pretrain", (*MUON_350M, "hardware=h200", "trainer.precision=fp8", "trainer.accelerator=cpu"), {}),
    ("pretrain", ("hardware=h200", "trainer.precision=fp8", "trainer.accelerator=cuda", "model.hidden_size=200",
                  "model.intermediate_size=500", "data.seq_len=255", "trainer.micro_batch_size=1",
                  "trainer.strategy=fsdp"), {}),
    ("pretrain", ("hardware.peak_flops.bf16=null", "trainer.precision=bf16"), {}),
    ("pretrain", ("trainer.accelerator=mps", "hardware=cpu"), {}),
    ("pretrain", ("trainer.keep_last=4", "trainer.keep_best=3", "hardware.disk=1MB"), {}),
    ("pretrain", (), {"rows": {"tokenizer_sha256": "a"}, "tokenizer": {"tokenizer_sha256": "b"}}),
    ("pretrain", (), {"rows": {"val_sequences": 0, "vocab_size": 9000}}),
    ("pretrain", (), {"init_from": {"model_config": {"hidden_size": 192, "vocab_size": 9_000}}}),
    ("pretrain", ("model.qk_norm=true",), {"init_from": {"model_config": {"qk_norm": False}}}),
    ("distill", (), {"tokenizer": {"tokenizer_sha256": "a"}, "teacher": {"tokenizer_sha256": "b"}}),
    ("distill", ("distill=offline",),
     {"rows": {"artifact": "a" * 64}, "logits": {"rows": "b" * 64, "seq_len": 9, "temperature": 1.0}}),
    ("merge", (), {"model_1": {"tokenizer_sha256": "a"}, "model_2": {"tokenizer_sha256": "b"}}),
    ("finetune", ("trainer.warmup_steps=9",), {"rows": {"num_sequences": 3}}),
    ("pack", (), {"documents": {"documents": {"train": 1, "val": 0}}}),
    ("pack", ("data.max_words=100",), {"documents": {"words": {"train": 101, "val": 9}}}),
    ("pretrain", alert("metric: val_bits_per_byte, above: 3, below: 2, action: stop"),
     {"rows": {"val_tokens": 1_000, "val_bytes": 4_000, "num_sequences": 10**9}}),
    ("pretrain", alert("metric: loss, below: 9, above: 8, times_ema: true"), {}),
    ("pretrain", alert("metric: mfu, below: 0.1"), {}),
    ("pretrain", alert("metric: mfu_6p, below: 0.1"), {}),
    ("pretrain", alert("metric: mfu, below: 0.1, for_seconds: 5"), {}),
    ("pretrain", alert("metric: grad_norm_clipped, above: 0.5"), {}),
    ("pretrain", alert("metric: val_loss, above: 9.01, below: 9.01"), {}),
]  # fmt: skip
"""Beside the rows of test_contracts.py: what needs inputs, and the other words of a contract."""


def said(case: Callable[..., Case]) -> Iterator[str]:
    rows: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [(STAGE.get(e[0], "pretrain"), e[3], {}) for e in BREAKS]
    for i, (stage, texts, inputs) in enumerate([*rows, *MORE]):
        if (stage, texts, inputs) in rows[:i]:
            continue
        yield f"\n# stage={stage} {' '.join(texts)}{f'  with {inputs}' if inputs else ''}\n"
        made = case(*texts, stage=stage, inputs=inputs)
        for contract in CONTRACTS.values():
            if stage in contract.stages:
                for found in contract.findings(made):
                    yield f"{found.severity}[{found.id}] {found.path}: {found.message}\n  help: {found.help}\n"


def test_what_every_contract_says(case: Callable[..., Case]) -> None:
    assert "".join(said(case)) == FINDINGS.read_text(encoding="utf-8")


def test_every_contract_on_a_config_is_among_them() -> None:
    text = FINDINGS.read_text(encoding="utf-8")
    assert [name for name in CONTRACTS if f"[{name}]" not in text] == []


if __name__ == "__main__":
    FINDINGS.write_text("".join(said(maker(Resolver(Composer())))), encoding="utf-8")
