"""Decoders pruned: zeros where they cost least, blocks, heads and channels that go as if they had been masked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from albor.config.schema.prune import Depth, Magnitude, Prune, SparseGpt, Storage, Target, Wanda, Width
from albor.config.sizes import quantized_bytes
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.transforms.calibration import MATRICES, Stream, blocks, gram, squares
from albor.transforms.prune_model import prune_model
from albor.transforms.structured import decoder_of

from .conftest import shaped, weights_of

BATCHES = [torch.randint(0, 96, (4, 24), generator=torch.Generator().manual_seed(i)) for i in range(4)]
TOKENS = torch.randint(0, 96, (3, 20), generator=torch.Generator().manual_seed(9))
NO_FILE = Storage(overhead=0)
CALIBRATED: tuple[type[Wanda | SparseGpt], ...] = (Wanda, SparseGpt)
SPARSE: tuple[type[Magnitude | Wanda | SparseGpt], ...] = (Magnitude, *CALIBRATED)


@pytest.fixture
def model() -> Decoder:
    """Its streams have outlier features, as those of trained models do: a few inputs twenty times as large."""
    config = shaped()
    weights = weights_of(config, 0)
    for name in weights:
        if name.endswith("layernorm.weight"):
            weights[name][::13] *= 20
    return decoder_of(config, weights, torch.float32)


def logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(TOKENS)
    return found


def same(weights: dict[str, Tensor], model: Decoder) -> bool:
    return all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def is_prunable(name: str) -> bool:
    return name.endswith(tuple(MATRICES))


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.77])
def test_the_sparsity_is_reached_in_the_blocks_matrices_alone(model: Decoder, kind, sparsity: float) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pruned = prune_model(kind(sparsity=sparsity), model, BATCHES)
    for name, tensor in pruned.weights.items():
        if is_prunable(name):
            assert abs((tensor == 0).double().mean().item() - sparsity) <= 1e-3
        else:
            assert torch.equal(tensor, before[name])
    assert same(before, model), "the model's own weights stay"
    assert pruned.savings.sparsity == pytest.approx(sparsity, abs=1e-3)
    assert (pruned.config, pruned.blocks, pruned.influence) == (model.config, (0, 1, 2, 3), ())


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize(("pattern", "zeros", "among"), [("2:4", 2, 4), ("4:8", 4, 8)])
def test_patterns_hold_in_every_group(model: Decoder, kind, pattern: str, zeros: int, among: int) -> None:
    pruned = prune_model(kind(pattern=pattern), model, BATCHES)
    for name, tensor in pruned.weights.items():
        if is_prunable(name):
            assert ((tensor.view(-1, among) == 0).sum(-1) == zeros).all()


@pytest.mark.parametrize("kind", SPARSE)
def test_nothing_to_prune_is_the_identity(model: Decoder, kind) -> None:
    assert same(prune_model(kind(sparsity=0.0), model, BATCHES).weights, model)


@pytest.mark.parametrize(
    "method",
    [Depth(ratio=0), Width(ratio=0), Depth(layers=4), Width(intermediate_size=128, num_attention_heads=4), Target()],
    ids=repr,
)
def test_nothing_to_remove_is_the_identity(model: Decoder, method: Prune) -> None:
    pruned = prune_model(method, model, BATCHES)
    assert pruned.config == model.config and same(pruned.weights, model)
    assert pruned.savings.parameters == pruned.savings.parameters_before


@pytest.mark.parametrize(
    "method",
    [
        *(kind(pattern=pattern) for kind in SPARSE for pattern in ("unstructured", "2:4")),
        Depth(),
        Width(head_ratio=0.5),
    ],
    ids=repr,
)
def test_the_same_rows_give_the_same_model(model: Decoder, method: Prune) -> None:
    one, other = (prune_model(method, model, iter(BATCHES)) for _ in range(2))
    assert one.savings == other.savings
    assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


def test_magnitude_and_wanda_remove_the_lowest_scores(model: Decoder) -> None:
    first = blocks(model)[0]
    norms = {name: square.sqrt() for name, square in Stream(model, BATCHES).statistics(first, squares).items()}
    for method in (Magnitude(sparsity=0.4), Wanda(sparsity=0.4)):
        weights = prune_model(method, model, BATCHES).weights
        for name, source in MATRICES.items():
            own, left = first.get_parameter(name).detach(), weights[f"model.layers.0.{name}"]
            assert torch.equal(left[left != 0], own[left != 0])
            scores = own.abs() * (norms[source] if isinstance(method, Wanda) else 1)
            scores, gone = (
                (scores, left == 0) if isinstance(method, Wanda) else (scores.view(1, -1), left.view(1, -1) == 0)
            )
            assert (scores.masked_fill(~gone, -1).amax(-1) <= scores.masked_fill(gone, torch.inf).amin(-1)).all()


def errors(model: Decoder, method: Prune) -> dict[str, float]:
    """‖(W − W′)X‖² of each matrix of the first block, whose inputs are the same for every method."""
    first = blocks(model)[0]
    grams, weights = Stream(model, BATCHES).statistics(first, gram), prune_model(method, model, BATCHES).weights
    apart = {name: first.get_parameter(name).detach() - weights[f"model.layers.0.{name}"] for name in MATRICES}
    return {name: ((d @ grams[MATRICES[name]]) * d).sum().item() for name, d in apart.items()}


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4:8"])
def test_sparsegpt_disturbs_outputs_less_than_wanda_and_wanda_less_than_magnitude(model: Decoder, pattern) -> None:
    magnitude, wanda, sparsegpt = (errors(model, kind(pattern=pattern)) for kind in SPARSE)
    outlying = [name for name, source in MATRICES.items() if source in ("attention", "feed_forward")]
    assert all(wanda[name] < 0.9 * magnitude[name] for name in outlying)
    assert sum(wanda.values()) < sum(magnitude.values())
    assert all(sparsegpt[name] < wanda[name] for name in MATRICES)


def test_calibration_sees_the_models_own_inputs_after_pruned_blocks(model: Decoder) -> None:
    """Statistics of the second block equal those of hooks on a model whose first block is pruned."""
    pruned = prune_model(Wanda(), model, BATCHES)
    first = {name: pruned.weights[f"model.layers.0.{name}"] for name in MATRICES}
    stream = Stream(model, BATCHES)
    stream.pass_through(blocks(model)[0], first)
    found = stream.statistics(blocks(model)[1], squares)
    weights = {**model.state_dict(), **{f"model.layers.0.{name}": weight for name, weight in first.items()}}
    half = decoder_of(model.config, weights, torch.float32)
    seen: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def add(module: object, args: tuple[Tensor], output: Tensor) -> None:
            seen[name] = seen.get(name, torch.zeros(1)) + args[0].flatten(0, 1).square().sum(0)

        return add

    for name in MATRICES:
        half.get_submodule(f"model.layers.1.{name.removesuffix('.weight')}").register_forward_hook(hook(name))
    with torch.no_grad():
        for tokens in BATCHES:
            half(tokens)
    for name, source in MATRICES.items():
        torch.testing.assert_close(found[source], seen[name])


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_removed_blocks_are_skipped_blocks(model: Decoder, layers: int) -> None:
    pruned = prune_model(Depth(layers=layers), model, BATCHES)
    assert len(pruned.blocks) == layers and len(pruned.influence) == 4
    lowest_kept = min(pruned.influence[index] for index in pruned.blocks)
    assert all(pruned.influence[i] <= lowest_kept for i in range(4) if i not in pruned.blocks)
    small = decoder_of(pruned.config, pruned.weights, torch.float32)
    masked = dict(model.state_dict())
    for index in set(range(4)) - set(pruned.blocks):  # it adds nothing to the stream
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            masked[f"model.layers.{index}.{name}.weight"] = torch.zeros_like(
                masked[f"model.layers.{index}.{name}.weight"]
            )
    torch.testing.assert_close(logits(small), logits(decoder_of(model.config, masked, torch.float32)))


def test_influence_is_what_a_block_changes() -> None:
    weights = weights_of(shaped(), 0)
    for index, size in enumerate((1.0, 0.0, 0.1, 3.0)):
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            weights[f"model.layers.{index}.{name}.weight"] *= size
    model = decoder_of(shaped(), weights, torch.float32)
    pruned = prune_model(Depth(layers=2), model, BATCHES)
    assert pruned.influence[1] == pytest.approx(0, abs=1e-6) and pruned.blocks == (0, 3)
    stream = Stream(model, BATCHES)
    before = torch.cat([state.flatten(0, 1) for state in stream.states])
    block = blocks(model)[0]
    assert stream.pass_through(block, {}) == pytest.approx(pruned.influence[0])
    behind = torch.cat([state.flatten(0, 1) for state in stream.states])
    cosines = (before * behind).sum(-1) / before.norm(dim=-1) / behind.norm(dim=-1)
    assert pruned.influence[0] == pytest.approx(1 - cosines.mean().item(), abs=1e-6)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("channels", [32, 96])
def test_removed_channels_are_zero_channels(qk_norm: bool, channels: int) -> None:
    config = shaped(qk_norm=qk_norm)
    model = decoder_of(config, weights_of(config, 0), torch.float32)
    pruned = prune_model(Width(intermediate_size=channels), model, BATCHES)
    masked = dict(model.state_dict())
    for index in range(4):
        name = f"model.layers.{index}.mlp.down_proj.weight"
        kept = pruned.weights[name]
        whole = masked[name]
        stays = (whole[:, :, None] == kept[:, None, :]).all(0).any(1)
        assert stays.sum() == channels
        masked[name] = whole * stays
    small = decoder_of(pruned.config, pruned.weights, torch.float32)
    torch.testing.assert_close(logits(small), logits(decoder_of(config, masked, torch.float32)), rtol=1e-5, atol=1e-4)


def test_the_channels_that_add_least_go(model: Decoder) -> None:
    first = blocks(model)[0]
    norms = Stream(model, BATCHES).statistics(first, squares)["activated"].sqrt()
    scores = norms * first.mlp.down_proj.weight.detach().norm(dim=0)
    best = scores.topk(64).indices.sort().values
    pruned = prune_model(Width(ratio=0.5), model, BATCHES)
    up = pruned.weights["model.layers.0.mlp.up_proj.weight"]
    assert torch.equal(up, first.mlp.up_proj.weight.detach()[best])


@pytest.mark.parametrize(
    "changes", [{}, {"qk_norm": True}, {"num_attention_heads": 8, "num_key_value_heads": 4}], ids=str
)
def test_removed_heads_are_heads_that_say_nothing(changes: dict[str, Any]) -> None:
    config = shaped(**changes)
    model, width = decoder_of(config, weights_of(config, 0), torch.float32), config.head_width
    pruned = prune_model(Width(ratio=0, head_ratio=0.5), model, BATCHES)
    small = decoder_of(pruned.config, pruned.weights, torch.float32)
    assert pruned.config.num_attention_heads == config.num_attention_heads // 2
    assert pruned.config.num_key_value_heads == config.num_key_value_heads // 2 and pruned.config.head_width == width
    assert (
        pruned.savings.parameters == sum(t.numel() for t in pruned.weights.values()) < pruned.savings.parameters_before
    )
    masked = dict(model.state_dict())
    for index in range(4):
        name = f"model.layers.{index}.self_attn.o_proj.weight"
        whole, kept = masked[name], pruned.weights[name]
        stays = (whole[:, :, None] == kept[:, None, :]).all(0).any(1)
        by_group = stays.view(config.num_key_value_heads, -1)
        assert (by_group.all(1) | ~by_group.any(1)).all() and by_group.any(1).sum() == pruned.config.num_key_value_heads
        masked[name] = whole * stays
    torch.testing.assert_close(logits(small), logits(decoder_of(config, masked, torch.float32)), rtol=1e-5, atol=1e-4)


def test_the_heads_that_add_least_go(model: Decoder) -> None:
    first = blocks(model)[0]
    seen: list[Tensor] = []
    first.self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    for batch in BATCHES:
        model(batch)
    heads = torch.cat([out.flatten(0, 1) for out in seen]).unflatten(-1, (2, -1))
    weight = first.self_attn.o_proj.weight.detach().unflatten(-1, (2, -1))
    by_column = heads.norm(dim=0) * weight.norm(dim=0)  # of each group, what each of its columns adds
    best = int(by_column.norm(dim=-1).argmax())
    pruned = prune_model(Width(ratio=0, num_attention_heads=2), model, BATCHES)
    kept = pruned.weights["model.layers.0.self_attn.k_proj.weight"]
    assert torch.equal(kept, first.self_attn.k_proj.weight.detach().unflatten(0, (2, -1))[best])


def test_a_size_is_met_with_fewer_heads_too(model: Decoder) -> None:
    target = Target(share=0.5, overhead=0, head_ratio=0.5)
    pruned = prune_model(target, model, BATCHES)
    assert pruned.config.num_attention_heads == 2 and pruned.config.num_key_value_heads == 1
    assert pruned.savings.bytes <= 0.5 * pruned.savings.bytes_before
    assert logits(decoder_of(pruned.config, pruned.weights, torch.float32)).isfinite().all()


def test_a_size_is_met_by_depth_and_width(model: Decoder) -> None:
    whole = quantized_bytes(model.config, NO_FILE)
    seen: list[tuple[int, int]] = []
    target = Target(bytes=int(0.5 * whole), overhead=0)
    pruned = prune_model(target, model, BATCHES, progress=lambda *at: seen.append(at))
    assert pruned.config.num_hidden_layers < 4 and pruned.config.intermediate_size < 128
    savings = pruned.savings
    assert savings.bytes == quantized_bytes(pruned.config, NO_FILE) <= target.bytes < savings.bytes_before == whole
    assert savings.parameters == pruned.config.num_parameters == sum(t.numel() for t in pruned.weights.values())
    assert logits(decoder_of(pruned.config, pruned.weights, torch.float32)).isfinite().all()
    assert seen == [(i + 1, len(seen)) for i in range(4 + pruned.config.num_hidden_layers)]


def test_zeros_save_no_byte_of_a_dense_file(model: Decoder) -> None:
    savings = prune_model(Wanda(), model, BATCHES).savings
    assert savings.bytes == savings.bytes_before and savings.parameters == savings.parameters_before
    assert savings.zeros == savings.prunable / 2


@pytest.mark.parametrize("method", [Wanda(), SparseGpt(), Depth(), Width()], ids=repr)
def test_without_rows_there_is_no_calibration(model: Decoder, method: Prune) -> None:
    with pytest.raises(ModelError, match="no rows to calibrate on") as refused:
        prune_model(method, model, [])
    assert refused.value.help
    prune_model(Magnitude(), model, [])


def test_the_computing_dtype_is_the_models(model: Decoder) -> None:
    low = decoder_of(model.config, model.state_dict(), torch.bfloat16)
    for method in (Wanda(), SparseGpt(), Depth(), Width()):
        pruned = prune_model(method, low, BATCHES)
        assert {tensor.dtype for tensor in pruned.weights.values()} == {torch.float32}
