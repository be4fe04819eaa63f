"""The decoder on a GPU, as it is and compiled, against the same weights in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from albor.models.attention import documents
from tests.models.gradients import EOS, assert_agree, on, passes, rows
from tests.models.triton_device import NEEDS_CUDA

pytestmark = NEEDS_CUDA

CUDA = torch.device("cuda")
TOLERANCE = {torch.float32: (1e-5, 1e-3), torch.bfloat16: (2e-3, 0.05)}
"""Of the loss, relative; of a gradient, the norm of its error over its norm. bf16 on a CPU is off by 1e-4 and 0.02."""


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """Every test compiles for itself: a compiled block takes a limited number of shapes."""
    torch._dynamo.reset()
    yield


OPTIONS: list[dict[str, Any]] = [
    {},
    {"qk_norm": True},
    {"head_dim": 64},
    {"num_key_value_heads": 4, "activation_checkpointing": True},
    {"z_loss": 0.1, "length": 100},
]


def assert_computes_the_same(decoder: Any, dtype: torch.dtype, options: dict[str, Any], *, compiled: bool) -> None:
    options = dict(options)
    checkpointing = options.pop("activation_checkpointing", False)
    data = rows(options.pop("length", 128))
    how = {name: options.pop(name) for name in ("z_loss", "masked") if name in options}
    model = decoder(initializer_range=0.1, **options)
    moved = on(CUDA, model, dtype)
    moved.activation_checkpointing = checkpointing
    if compiled:
        moved.compile_regions()
    for _ in range(2):  # the second time as it was compiled the first time
        assert_agree(passes(moved, *data, **how), passes(model, *data, **how), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_gpu_computes_what_a_cpu_does(decoder, dtype, options) -> None:
    assert_computes_the_same(decoder, dtype, options, compiled=False)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compiled_too(decoder, dtype, options) -> None:
    assert_computes_the_same(decoder, dtype, options, compiled=True)


@pytest.mark.parametrize("length", [128, 200])
def test_the_block_mask_is_the_boolean_mask(length) -> None:
    tokens, _ = rows(length)
    blocks, boolean = documents(tokens.cuda(), EOS), documents(tokens, EOS)
    assert isinstance(blocks, BlockMask) and isinstance(boolean, Tensor)
    row, query, key = torch.meshgrid(*(torch.arange(n, device="cuda") for n in (3, length, length)), indexing="ij")
    visible = blocks.mask_mod(row, torch.zeros_like(row), query, key)
    assert torch.equal(visible.cpu(), boolean[:, 0])


@pytest.mark.parametrize("length", [128, 200])
@pytest.mark.parametrize(
    "options", [{}, {"qk_norm": True}, {"head_dim": 64}, {"activation_checkpointing": True}], ids=str
)
def test_documents_are_kept_apart_as_on_a_cpu(decoder, options, length) -> None:
    assert_computes_the_same(decoder, torch.bfloat16, {**options, "masked": True, "length": length}, compiled=True)


def test_validation_keeps_documents_apart_without_compiling(decoder) -> None:
    model, (tokens, labels) = decoder(initializer_range=0.1), rows()
    moved = on(CUDA, model, torch.bfloat16).eval()
    moved.compile_regions()
    tokens, labels = tokens.cuda(), labels.cuda()
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        found = moved.loss_sum(tokens, labels, documents(tokens, EOS)).item()
        exact = model.loss_sum(tokens.cpu(), labels.cpu(), documents(tokens.cpu(), EOS)).item()
    assert found == pytest.approx(exact, rel=2e-3)


def test_dropout_under_checkpointing_drops_the_same_again(decoder) -> None:
    model = on(CUDA, decoder(dropout=0.3, initializer_range=0.1), torch.float32)
    found = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        torch.manual_seed(5)
        found.append(passes(model, *rows()))
    assert_agree(found[0], found[1], (1e-6, 1e-5))
