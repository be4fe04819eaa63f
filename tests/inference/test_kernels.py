"""Triton's kernels against plain arithmetic, over shapes that no block fits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.schema.model import Model
from albor.inference.network import Network
from albor.models.decoder import Decoder, rotary, rotate
from tests.models.triton_device import DEVICE, NEEDS_KERNELS, rounding_as_on_a_device

pytestmark = NEEDS_KERNELS

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
DTYPES = [*TOLERANCE]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with rounding_as_on_a_device():
        yield


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(DEVICE, dtype)


def assert_near(found: Tensor, exact: Tensor) -> None:
    """Of numbers around 1, both in absolute and in relative terms."""
    bound = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), exact.double(), rtol=bound, atol=bound)


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x.double(), x.shape[-1:], weight.double(), 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 8), (3, 192), (5, 1000), (2, 2048)], ids=str)
def test_add_norm(dtype, shape) -> None:
    from albor.inference import kernels

    x, owed, weight = (random(*s, dtype=dtype) for s in (shape, shape, shape[1:]))
    added, found = kernels.add_norm(x, owed, weight, 1e-5)
    assert torch.equal(added, x + owed)
    assert_near(found, normed(added, weight))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 8), (3, 512), (2, 1030)], ids=str)
def test_swiglu(dtype, shape) -> None:
    from albor.inference import kernels

    gate, up = random(*shape, dtype=dtype), random(*shape, dtype=dtype)
    assert_near(kernels.swiglu(torch.cat((gate, up), dim=1)), F.silu(gate.double()) * up.double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("shape", [(8, 3), (192, 512), (1000, 70), (4096, 33)], ids=str)
def test_products_of_few_rows(dtype, rows, shape) -> None:
    from albor.inference.narrow import product

    inputs, outputs = shape
    x, norm, residual = (random(*s, dtype=dtype) for s in ((rows, inputs), (inputs,), (rows, outputs)))
    weight, up = (random(outputs, inputs, dtype=dtype) / inputs**0.5 for _ in range(2))
    assert_near(product(x, weight), x.double() @ weight.double().T)
    assert product(x, weight, dtype=torch.float32).dtype == torch.float32
    turned = normed(x, norm)
    assert_near(product(x, weight, norm=norm, eps=1e-5), turned @ weight.double().T)
    assert_near(product(x, weight, residual=residual), residual.double() + x.double() @ weight.double().T)
    gated = F.silu(turned @ weight.double().T) * (turned @ up.double().T)
    assert_near(product(x, torch.cat((weight, up)), norm=norm, eps=1e-5, gated=True), gated)


HEADS = [(heads * group, heads, width) for group in range(1, 9) for heads, width in ((1, 64), (2, 32), (1, 128))]
HEADS += [(4, 2, 8), (6, 3, 12), (9, 3, 24), (12, 1, 16), (2, 1, 256)]
LENGTHS = [0, 1, 63, 64, 65, 150, 7]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", HEADS, ids=str)
@pytest.mark.parametrize("head_norms", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 16])
def test_attention_of_one_token(monkeypatch, dtype, heads, head_norms, parts) -> None:
    """Rows of many lengths, beside rows of the cache that are not in use, beyond which nothing may be read."""
    from albor.inference import kernels

    monkeypatch.setattr(kernels, "MOST_PARTS", parts)
    queries, kv_heads, width = heads
    rows, capacity = len(LENGTHS), 151
    projected = random(rows, (queries + 2 * kv_heads) * width, dtype=dtype)
    norms = (random(width, dtype=dtype), random(width, dtype=dtype)) if head_norms else None
    keys, values = (random(rows + 2, kv_heads, capacity, width, dtype=dtype) for _ in range(2))
    lengths = torch.tensor([*LENGTHS, 3, 4], device=DEVICE)
    for row, length in enumerate(lengths.tolist()):
        keys[row, :, length:], values[row, :, length:] = torch.nan, torch.nan
    before = keys.clone(), values.clone()
    cos, sin = rotary(torch.arange(capacity, device=DEVICE), width, 10_000.0, dtype)
    angles = cos.squeeze(1).contiguous(), sin.squeeze(1).contiguous()
    turns = torch.zeros(rows + 2, kv_heads, dtype=torch.int32, device=DEVICE)
    found = kernels.attend(projected, norms, angles, keys, values, lengths, 1e-5, turns)
    assert not turns.any()
    counts = (queries, kv_heads, kv_heads)
    for row, length in enumerate(LENGTHS):
        q, k, v = projected[row].double().unflatten(0, (-1, width)).split(counts)
        if norms is not None:
            q, k = normed(q, norms[0]), normed(k, norms[1])
        turn = cos[length : length + 1].double().cpu(), sin[length : length + 1].double().cpu()
        q, k = (rotate(part[None, None].cpu(), turn)[0, 0].to(DEVICE) for part in (q, k))
        assert_near(keys[row, :, length], k)
        assert torch.equal(values[row, :, length].double(), v)
        all_k, all_v = (
            torch.cat((cached[row, :, :length].double(), new[:, None]), dim=1)
            for cached, new in zip(before, (k, v), strict=True)
        )
        expected = F.scaled_dot_product_attention(q[:, None], all_k, all_v, enable_gqa=True)
        assert_near(found[row], expected.flatten())
        keys[row, :, length], values[row, :, length] = torch.nan, torch.nan
    for cached, as_before in zip((keys, values), before, strict=True):
        torch.testing.assert_close(cached, as_before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("qk_norm", [False, True])
def test_the_whole_network_with_kernels_is_the_one_without(dtype, qk_norm) -> None:
    config = Model(name="m", hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                   intermediate_size=80, vocab_size=61, initializer_range=0.2, qk_norm=qk_norm)  # fmt: skip
    model = Decoder(config, dtype).to(DEVICE)
    tokens, lengths = torch.randint(0, 61, (3, 9), device=DEVICE), torch.tensor([8, 1, 5], device=DEVICE)
    found = []
    for fused in (False, True):
        network = Network(model, fused=fused)
        cache = network.empty_cache(4, 12)
        cos, sin = network.rotation(torch.arange(12, device=DEVICE))
        read = network.read(tokens, cache, torch.tensor([2, 0, 1], device=DEVICE)).flatten(0, 1)
        angles = cos.squeeze(1), sin.squeeze(1)
        # Three rows at once, then two, and then one.
        steps = [network.step(tokens[:w, 3 - w], cache, lengths[:w] + 3 - w, angles, 12) for w in (3, 2, 1)]
        found.append(torch.cat([network.logits(read), *steps]))
    assert found[0].dtype == found[1].dtype == torch.float32
    torch.testing.assert_close(
        *found, rtol=0, atol=(3e-2 if dtype == torch.bfloat16 else 1e-5) * float(found[0].abs().max())
    )
