"""Sizes of files, and the shapes that fit into them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.config.schema.model import Model
from albor.config.schema.prune import Depth, Magnitude, Storage, Target, Wanda, Width
from albor.config.schema.quantize import Kind, Type
from albor.config.sizes import fit_size, pruned_shape, quantized_bytes
from albor.errors import AlborError

WHOLE = Model(
    name="350m",
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    num_key_value_heads=4,
    intermediate_size=4096,
    vocab_size=32768,
)


def shaped(layers: int, channels: int) -> Model:
    return replace(WHOLE, num_hidden_layers=layers, intermediate_size=channels)


@pytest.mark.parametrize(
    ("layers", "channels", "embedding", "megabytes"),
    [(12, 2048, "q8_0", 97.06), (12, 2048, "q5_0", 84.5), (16, 1536, "q5_0", 90.4), (24, 4096, "q6_k", 234.1)],
)
def test_files_that_were_measured(layers: int, channels: int, embedding: Type, megabytes: float) -> None:
    """Written by llama.cpp with Q4_0 matrices, a header and a tokenizer of 1.14 MB."""
    size = quantized_bytes(shaped(layers, channels), Storage(embedding=embedding, overhead=1_140_000))
    assert size / 1e6 == pytest.approx(megabytes, abs=0.05)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_in_float32_the_file_is_the_parameters(qk_norm: bool) -> None:
    model = replace(WHOLE, qk_norm=qk_norm)
    storage = Storage(matrices="f32", embedding="f32", overhead=7)
    said_of_tensors = 64 * model.num_tensors + 1024
    assert quantized_bytes(model, storage) == 4 * model.num_parameters + said_of_tensors + 7


def test_a_row_that_is_no_whole_number_of_blocks_is_stored_in_f16() -> None:
    model, storage = shaped(1, 100), Storage(overhead=0)
    with_32 = quantized_bytes(shaped(1, 96), storage)
    down, others = 1024 * (100 * 2 - 96 // 32 * 18), 2 * 4 * 1024 // 32 * 18
    assert quantized_bytes(model, storage) - with_32 == down + others


def test_half_of_the_model_fits_into_a_hundred_megabytes() -> None:
    """The rung of the ladder: half the blocks, half the channels."""
    assert fit_size(WHOLE, 100_000_000, Storage(), 256) == shaped(12, 2048)
    assert fit_size(WHOLE, 100_000_000, Storage(), 32) == shaped(12, 2176)


@settings(deadline=None)
@given(
    size=st.integers(60_000_000, 260_000_000),
    multiple=st.sampled_from([1, 32, 48, 256]),
    matrices=st.sampled_from(["q4_0", "q4_k_m", "q8_0"]),
)
def test_what_fits_is_within_the_size_and_cannot_be_wider(size: int, multiple: int, matrices: Kind) -> None:
    storage = Storage(matrices=matrices)
    fit = fit_size(WHOLE, size, storage, multiple)
    step = math.lcm(multiple, {"q4_0": 32, "q4_k_m": 256, "q8_0": 32}[matrices])
    assert quantized_bytes(fit, storage) <= size
    if fit == WHOLE:
        return
    assert fit.intermediate_size % step == 0 or fit.intermediate_size == WHOLE.intermediate_size
    if fit.intermediate_size + step <= WHOLE.intermediate_size:
        wider = replace(fit, intermediate_size=fit.intermediate_size + step)
        assert quantized_bytes(wider, storage) > size
    depth, width = fit.num_hidden_layers / 24, fit.intermediate_size / 4096
    assert abs(math.log(depth / width)) < 0.7, "neither bears the cut alone"


def test_a_model_that_fits_stays_and_a_size_that_nothing_fits_is_refused() -> None:
    whole = quantized_bytes(WHOLE, Storage())
    assert fit_size(WHOLE, whole, Storage(), 100) is WHOLE
    assert fit_size(WHOLE, whole - 1, Storage(), 32) != WHOLE
    with pytest.raises(AlborError, match=r"one block of 32 channels takes 3[0-9,]+") as refused:
        fit_size(WHOLE, 30_000_000, Storage(), 32)
    assert refused.value.help


@pytest.mark.parametrize(
    ("method", "layers", "channels"),
    [
        (Magnitude(), 24, 4096),
        (Wanda(), 24, 4096),
        (Depth(ratio=0), 24, 4096),
        (Depth(), 18, 4096),
        (Depth(layers=7, ratio=0.5), 7, 4096),
        (Width(ratio=0, multiple=1000), 24, 4096),
        (Width(), 24, 3072),
        (Width(ratio=0.3, multiple=256), 24, 2816),
        (Width(intermediate_size=33), 24, 33),
        (Width(ratio=0.01, multiple=3000), 24, 3000),
        (Target(multiple=256), 12, 2048),
    ],
)
def test_the_shape_that_a_method_leaves(method, layers: int, channels: int) -> None:
    assert pruned_shape(WHOLE, method) == shaped(layers, channels)


@pytest.mark.parametrize(
    ("method", "heads", "groups"),
    [
        (Width(head_ratio=0.05), 16, 4),
        (Width(num_attention_heads=4), 4, 1),
        (Target(head_ratio=0.5), 8, 2),
    ],
)
def test_heads_go_in_groups_and_keep_their_width(method, heads: int, groups: int) -> None:
    left = pruned_shape(WHOLE, method)
    assert (left.num_attention_heads, left.num_key_value_heads) == (heads, groups)
    assert left.head_width == WHOLE.head_width and left.hidden_size == WHOLE.hidden_size


def test_heads_that_transformers_would_not_read_are_refused() -> None:
    with pytest.raises(AlborError, match="12 heads do not divide a width of 1,024") as refused:
        pruned_shape(WHOLE, Width(head_ratio=0.25))
    assert "keep 4 or 8;" in str(refused.value.help)
    left = pruned_shape(replace(WHOLE, qk_norm=True), Width(head_ratio=0.25))
    assert (left.num_attention_heads, left.num_key_value_heads, left.head_width) == (12, 3, 64)


def test_a_part_of_a_group_is_refused() -> None:
    with pytest.raises(AlborError, match="are not made of groups of") as refused:
        pruned_shape(WHOLE, Width(num_attention_heads=5))
    assert refused.value.help


@pytest.mark.parametrize(
    "method",
    [
        Depth(ratio=1),
        Depth(layers=25),
        Width(ratio=1),
        Width(intermediate_size=4097),
        Width(head_ratio=1),
        Width(num_attention_heads=32),
    ],
)
def test_nothing_left_or_more_than_there_is_is_refused(method) -> None:
    with pytest.raises(AlborError, match="cannot be kept") as refused:
        pruned_shape(WHOLE, method)
    assert refused.value.help


@pytest.mark.parametrize(
    ("method", "model", "message"),
    [
        (Wanda(pattern="2:4", sparsity=0.4), WHOLE, "2:4 removes 50%, not 40%"),
        (Magnitude(pattern="4:8"), replace(WHOLE, intermediate_size=4100), "4100 inputs are not made of groups of 8"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(method, model: Model, message: str) -> None:
    with pytest.raises(AlborError, match=message) as refused:
        pruned_shape(model, method)
    assert refused.value.help
