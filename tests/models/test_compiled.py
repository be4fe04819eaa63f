"""What is written otherwise for the compiler computes the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from albor.models.attention import attend, documents
from albor.models.decoder import Decoder
from albor.models.loss import IGNORED, linear_cross_entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_that_is_compiled_is_the_eager_one(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(20, 8, dtype=dtype), torch.randn(50, 8)
    labels = torch.randint(0, 50, (20,))
    labels[::3] = IGNORED

    def loss_and_gradients() -> tuple[Tensor, ...]:
        x, weight = hidden.clone().requires_grad_(), head.clone().requires_grad_()
        loss = linear_cross_entropy(x, weight, labels, 0.1)
        return loss.detach(), *torch.autograd.grad(loss, (x, weight))

    eager = loss_and_gradients()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for ours, theirs in zip(loss_and_gradients(), eager, strict=True):
        tolerance = 1e-5 if ours.dtype == torch.float32 and dtype == torch.float32 else 2e-2
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_blocks_that_are_compiled_have_the_weights_names_and_losses_of_others(
    decoder: Callable[..., Decoder],
) -> None:
    plain, regions = decoder(), decoder()
    tokens = torch.randint(0, 97, (2, 9))
    with torch.compiler.set_stance("force_eager"):  # the compiler itself takes a minute
        regions.compile_regions()
        ours = regions.loss_sum(tokens[:, :-1], tokens[:, 1:])
    torch.testing.assert_close(ours, plain.loss_sum(tokens[:, :-1], tokens[:, 1:]))
    assert list(regions.state_dict()) == list(plain.state_dict())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_block_mask_shows_what_the_dense_one_does() -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[5, 0, 6, 7, 0, 8, 9, 3]])
    mask = documents(tokens, eos=0)
    assert isinstance(mask, Tensor)
    q, k, v = (torch.randn(1, heads, 8, 16) for heads in (4, 2, 2))

    def visible(b: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        shown: Tensor = mask[b, 0, query, key]
        return shown

    blocks = create_block_mask(visible, 1, None, 8, 8, device="cpu")
    torch.testing.assert_close(attend(q, k, v, blocks), attend(q, k, v, mask))
