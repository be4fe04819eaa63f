"""Contracts on what becomes of a trained model: merged, pruned, finetuned."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.merging import differences, model_weights
from albor.config.schema.finetune import Dpo, Lora
from albor.config.schema.prune import Sparse
from albor.config.sizes import pruned_shape
from albor.contracts.base import Case, Found, contract
from albor.errors import AlborError

BASE = "base"


@contract(
    "C-FINETUNE-001",
    "Adapters and starting weights are computed as they are",
    formula="adapters or objective=dpo ⇒ no fp8, and no fsdp over several devices",
    stages=("finetune",),
    needs=("C-HW-001", "C-HW-004"),
)
def computed_plainly(case: Case) -> Iterator[Found]:
    cfg, trainer = case.cfg, case.cfg.trainer
    wanted = {"adapters": isinstance(cfg.finetune, Lora), "preferences": isinstance(cfg.objective, Dpo)}
    what = " and ".join(name for name, given in wanted.items() if given)
    if what and trainer.precision == "fp8":
        message = f"{what} cannot be learnt in fp8, whose layers read their own weights alone"
        yield "error", "trainer.precision", message, "trainer.precision=bf16"
    if what and trainer.strategy == "fsdp" and trainer.world_size > 1:
        message = f"{what} cannot be learnt with fsdp, which shares the weights out"
        yield "error", "trainer.strategy", message, "trainer.strategy=ddp"


@contract(
    "C-MERGE-001",
    "Models that are merged have one architecture",
    formula="hidden, layers, heads, kv_heads, head_dim, ffn, vocab, RoPE's base, eps and QK-norm are the same in all",
    stages=("merge",),
    history="Weights of unlike shapes have nothing between them; of like shapes and another vocabulary, nonsense.",
)
def one_architecture(case: Case) -> Iterator[Found]:
    shapes = {name: facts["model_config"] for name, facts in case.inputs.items() if "model_config" in facts}
    shapes |= {name: vars(config.model) for name, config in case.planned.items()}
    names = [name for name in shapes if name.startswith("model_") or name == BASE]
    for name in names[1:]:
        first, other = shapes[names[0]], shapes[name]
        if apart := differences(first, other):
            message = f"{names[0]} and {name} differ: {'; '.join(apart)}"
            yield "error", "stage.of", message, "merge models of one architecture and vocabulary"
    tokenizers = {facts["tokenizer_sha256"] for facts in case.inputs.values() if "tokenizer_sha256" in facts}
    if len(tokenizers) > 1:
        message = "the models that are to be merged have different tokenizers"
        yield "error", "stage.of", message, "merge models of one tokenizer"


@contract(
    "C-MERGE-002",
    "A method gets the models that it can merge",
    formula="slerp takes two; task_arithmetic, ties and dare take a base; one weight per model",
    stages=("merge",),
)
def mergeable(case: Case) -> Iterator[Found]:
    method = case.cfg.merge
    try:
        model_weights(method, len(case.cfg.stage.of), has_base=method.needs_base)
    except AlborError as error:
        yield "error", "stage.of" if "models" in error.cause else "merge", error.cause, str(error.help)


@contract(
    "C-PRUNE-001",
    "Something is left, and of the size that was asked for",
    formula="1 ≤ kept blocks, channels and heads ≤ those there are, heads in whole groups; n:m fits the sparsity and "
    "the matrices; a file of prune.bytes, or of prune.share of the unpruned one, exists",
    stages=("prune",),
    history="'Q4 under 100 MB' cannot hold for 398.5M parameters, which are 224 MB at 4.5 bits.",
)
def something_left(case: Case) -> Iterator[Found]:
    try:
        pruned_shape(case.cfg.model, case.cfg.prune)
    except AlborError as error:
        yield "error", "prune", error.cause, str(error.help)


@contract(
    "C-PRUNE-002",
    "Zeros are known to save nothing in a dense file",
    formula="wanda, magnitude and sparsegpt leave the shape; a 4-bit file stores zeros like any weight",
    stages=("prune",),
)
def dense_file(case: Case) -> Iterator[Found]:
    if isinstance(case.cfg.prune, Sparse):
        message = f"{case.cfg.prune.kind} sets weights to zero: a dense 4-bit file stays as large"
        yield "warning", "prune", message, "prune=size, depth or width make the file smaller"
