"""Contracts on what the hardware can hold and do."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.units import human_bytes
from albor.contracts.base import TRAINING, Case, Found, contract
from albor.contracts.distillation import beside
from albor.contracts.memory import checkpoint_bytes, largest_micro_batch, teacher_bytes, training_bytes

FP8_CAPABILITY = 8.9
FP8_MULTIPLE = 16


@contract(
    "C-FIT-001",
    "Training fits into the device's memory",
    formula="16·P (18·P in bf16; Muon: 4 bytes less for each element of the blocks' matrices) + "
    "micro_batch · seq_len · activation bytes + the weights of a teacher that computes beside it "
    "≤ 0.92 · hardware.memory",
    stages=TRAINING,
    needs=("C-MODEL-001", "C-HW-002"),
)
def memory(case: Case) -> Iterator[Found]:
    cfg = case.cfg
    teacher = teacher_bytes(beside(case), cfg.trainer)
    need = training_bytes(cfg.model, cfg.trainer, cfg.data.seq_len, cfg.optim) + teacher
    if need > 0.92 * cfg.hardware.memory:
        memory = cfg.hardware.memory
        most = largest_micro_batch(cfg.model, cfg.trainer, cfg.data.seq_len, memory, cfg.optim, teacher=teacher)
        have = f"{human_bytes(cfg.hardware.memory)} of {cfg.hardware.name}"
        of_it = f", {human_bytes(teacher)} of it by the teacher," if teacher else ","
        message = f"about {human_bytes(need)} are needed{of_it} which the {have} cannot hold"
        fix = f"trainer.micro_batch_size={most}" if most else "a smaller model, or hardware with more memory"
        yield "error", "trainer.micro_batch_size", message, f"{fix}; `albor fit` proposes a batch"


@contract(
    "C-FIT-002",
    "The checkpoints fit onto the disk",
    formula="(12 · (keep_last + keep_best + 1) + 4)·P ≤ hardware.disk",
    stages=TRAINING,
    needs=("C-MODEL-001",),
)
def disk(case: Case) -> Iterator[Found]:
    trainer = case.cfg.trainer
    need, have = checkpoint_bytes(case.cfg.model, trainer), case.cfg.hardware.disk
    if need > have:
        kept = f"{trainer.keep_last} newest, {trainer.keep_best} best and the one being written"
        message = f"checkpoints ({kept}) take {human_bytes(need)}, the disk has {human_bytes(have)}"
        yield "error", "hardware.disk", message, "keep fewer: trainer.keep_last=1; or a larger disk: hardware.disk=…"


@contract(
    "C-HW-001",
    "The precision exists on the device",
    formula="fp8 ⇒ accelerator = cuda, compute capability ≥ 8.9, 16 | hidden, ffn, micro_batch · seq_len, no fsdp; the "
    "device has a peak for the precision",
    stages=TRAINING,
    needs=("C-HW-002",),
)
def precision(case: Case) -> Iterator[Found]:
    hardware, wanted, accelerator = case.cfg.hardware, case.cfg.trainer.precision, case.cfg.trainer.accelerator
    if wanted == "fp8" and (hardware.compute_capability or 0) < FP8_CAPABILITY:
        have = f"{hardware.name} has {hardware.compute_capability or 'none'}"
        message = f"fp8 needs CUDA compute capability {FP8_CAPABILITY}; {have}"
        yield "error", "trainer.precision", message, "trainer.precision=bf16, or hardware=h100"
    elif wanted == "fp8" and accelerator != "cuda":
        message = f"fp8 is computed on CUDA devices, and training runs on {accelerator}"
        yield "error", "trainer.precision", message, "trainer.accelerator=cuda, or trainer.precision=bf16"
    elif wanted == "fp8":
        yield from fp8_shapes(case)
    elif getattr(hardware.peak_flops, wanted) is None:
        message = f"{hardware.name} has no {wanted} arithmetic"
        yield "error", "trainer.precision", message, "trainer.precision=float32"


def fp8_shapes(case: Case) -> Iterator[Found]:
    cfg = case.cfg
    for path, size, of in (
        ("model.hidden_size", cfg.model.hidden_size, ""),
        ("model.intermediate_size", cfg.model.intermediate_size, ""),
        ("trainer.micro_batch_size", cfg.trainer.micro_batch_size * cfg.data.seq_len, " tokens of a micro-batch"),
    ):
        if size % FP8_MULTIPLE:
            message = f"fp8 matrix products need multiples of {FP8_MULTIPLE}, not {size:,}{of}"
            yield "error", path, message, "another size, or trainer.precision=bf16"
    if cfg.trainer.strategy == "fsdp":
        message = "fp8's feed-forward layers need whole weights, and fsdp shares them out"
        yield "error", "trainer.strategy", message, "trainer.strategy=ddp, or trainer.precision=bf16"


@contract(
    "C-HW-003",
    "The devices can be trained on together",
    formula="accelerator = mps ⇒ devices · nodes = 1",
    stages=TRAINING,
)
def together(case: Case) -> Iterator[Found]:
    trainer = case.cfg.trainer
    if trainer.accelerator == "mps" and trainer.world_size > 1:
        message = f"mps is one device: {trainer.world_size} of them cannot train together"
        yield "error", "trainer.devices", message, "trainer.devices=1 trainer.nodes=1"


@contract(
    "C-HW-004",
    "There is something to shard over",
    formula="strategy = fsdp ⇒ devices · nodes > 1",
    stages=TRAINING,
    needs=("C-HW-003",),
)
def sharded(case: Case) -> Iterator[Found]:
    trainer = case.cfg.trainer
    if trainer.strategy == "fsdp" and trainer.world_size == 1:
        message = "fsdp shares the model among devices, and there is one: nothing is sharded"
        yield "warning", "trainer.strategy", message, "trainer.strategy=ddp, or several devices: trainer.devices=…"


@contract(
    "C-HW-005",
    "A document mask on a GPU is compiled",
    formula="document_mask ∧ accelerator = cuda ⇒ compile",
    stages=TRAINING,
)
def compiled_mask(case: Case) -> Iterator[Found]:
    trainer = case.cfg.trainer
    if trainer.document_mask and trainer.accelerator == "cuda" and not trainer.compile:
        message = "without compilation, flex attention holds the scores of all pairs of tokens"
        yield "error", "trainer.document_mask", message, "trainer.compile=true, or trainer.document_mask=false"


@contract(
    "C-HW-002",
    "The plan is made for the kind of device that computes",
    formula="trainer.accelerator = hardware.accelerator",
    stages=(*TRAINING, "teacher_logits"),
)
def accelerator(case: Case) -> Iterator[Found]:
    wanted, hardware = case.cfg.trainer.accelerator, case.cfg.hardware
    if wanted != hardware.accelerator:
        message = f"{case.stage} runs on {wanted}, but the plan's times and memory are those of {hardware.name}"
        named = {"cpu": "cpu", "cuda": "h200", "mps": "mps"}[wanted]
        yield "warning", "hardware", message, f"hardware={named}, or trainer.accelerator={hardware.accelerator}"
