"""C-HW-001 on fp8: the device, the sizes, and what it cannot be combined with."""

from __future__ import annotations

import pytest

from albor.contracts import CONTRACTS, Finding

FP8 = ("model=350m", "data.num_sequences=100M", "hardware=h100", "trainer.precision=fp8")


@pytest.fixture
def findings(case):
    def find(*texts: str) -> list[Finding]:
        found: list[Finding] = CONTRACTS["C-HW-001"].findings(case(*FP8, *texts))
        return found

    return find


@pytest.mark.contract("C-HW-001", level=2)
@pytest.mark.parametrize(
    "texts",
    [
        (),
        ("hardware=h200",),
        ("hardware=rtx4090",),  # 8.9, the least that has it
        ("model.qk_norm=true", "model.dropout=0.1", "trainer.document_mask=true"),
        ("trainer.activation_checkpointing=true", "trainer.z_loss=1e-4"),
        ("trainer.devices=8",),
        ("trainer.micro_batch_size=1", "data.seq_len=16"),
        ("model.hidden_size=1040", "model.num_attention_heads=13", "model.num_key_value_heads=13"),
        ("model=125m",),
        ("model=50m",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_it_goes(texts, findings) -> None:
    assert findings(*texts) == []


@pytest.mark.contract("C-HW-001", level=2)
@pytest.mark.parametrize(
    ("texts", "path", "message", "remedy"),
    [
        (("hardware=a100",), "trainer.precision", "a100 has 8.0", "trainer.precision=bf16"),
        (("hardware.compute_capability=8.8",), "trainer.precision", "h100 has 8.8", "trainer.precision=bf16"),
        (("hardware=cpu", "trainer.accelerator=cpu"), "trainer.precision", "cpu has none", "trainer.precision=bf16"),
        (("hardware=mps", "trainer.accelerator=mps"), "trainer.precision", "mps has none", "trainer.precision=float32"),
        (("trainer.accelerator=cpu",), "trainer.precision", "training runs on cpu", "trainer.accelerator=cuda"),
        (("trainer.accelerator=mps",), "trainer.precision", "training runs on mps", "trainer.accelerator=cuda"),
        (("model.hidden_size=1032", "model.num_attention_heads=12"), "model.hidden_size",
         "multiples of 16, not 1,032", "model.hidden_size=1040 model.num_attention_heads=13"),
        (("model.intermediate_size=4100",), "model.intermediate_size", "multiples of 16, not 4,100",
         "model.intermediate_size=4096"),
        (("trainer.micro_batch_size=3", "data.seq_len=40"), "trainer.micro_batch_size",
         "multiples of 16, not 120 tokens of a micro-batch", "trainer.micro_batch_size=4"),
        (("trainer.strategy=fsdp", "trainer.devices=2"), "trainer.strategy", "fsdp shares them out",
         "trainer.strategy=ddp"),
    ],
)  # fmt: skip
def test_it_does_not_and_the_remedy_helps(texts, path, message, remedy, findings) -> None:
    (found,) = findings(*texts)
    assert (found.severity, found.path) == ("error", path)
    assert message in found.message
    assert findings(*texts, *remedy.split()) == []


@pytest.mark.contract("C-HW-001", level=2)
def test_every_size_that_is_wrong_is_told_of_by_what_it_is(findings) -> None:
    """Also where the numbers are equal."""
    found = findings("model.hidden_size=200", "model.num_attention_heads=10", "model.intermediate_size=200",
                     "trainer.micro_batch_size=1", "data.seq_len=200")  # fmt: skip
    assert [(f.path, f.message.split("not ")[1]) for f in found] == [
        ("model.hidden_size", "200"),
        ("model.intermediate_size", "200"),
        ("trainer.micro_batch_size", "200 tokens of a micro-batch"),
    ]


@pytest.mark.contract("C-HW-001", level=2)
def test_other_precisions_are_not_asked(case) -> None:
    odd = ("model.hidden_size=200", "model.num_attention_heads=10", "model.intermediate_size=200")
    for words in (("trainer.precision=bf16",), ("trainer.precision=float32", "trainer.accelerator=cpu")):
        assert CONTRACTS["C-HW-001"].findings(case(*FP8, *odd, *words)) == []


@pytest.mark.contract("C-HW-001", level=2)
def test_a_run_is_refused_before_anything_is_computed(albor) -> None:
    done = albor("validate", "stage=pretrain", "hardware=h100", "trainer.precision=fp8", "trainer.accelerator=cpu")
    assert done.code == 2 and "error[C-HW-001]" in done.err and "training runs on cpu" in done.err
