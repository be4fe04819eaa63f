"""The document mask: a row of several documents computes what each of them would alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.attention import Mask, documents
from albor.models.decoder import Decoder
from albor.models.loss import IGNORED
from tests.models.conftest import SHAPE

EOS = 0


def row_of(lengths: list[int], seed: int = 0) -> tuple[Tensor, list[slice]]:
    """A row [1, T] of documents of these lengths, each with the token that ends it; and where they lie."""
    tokens = torch.randint(1, 97, (1, sum(lengths)), generator=torch.Generator().manual_seed(seed))
    ends = torch.tensor(lengths).cumsum(0).tolist()
    places = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    tokens[0, [end - 1 for end in ends]] = EOS
    return tokens, places


def losses(model: Decoder, tokens: Tensor, mask: Mask) -> Tensor:
    """The loss of each token of a row but the first [T - 1], one at a time."""
    labels = torch.full((tokens.shape[1] - 1, tokens.shape[1] - 1), IGNORED).fill_diagonal_(0)
    labels = torch.where(labels == 0, tokens[:, 1:], IGNORED)
    with torch.no_grad():
        return torch.stack([model.loss_sum(tokens[:, :-1], only[None], mask) for only in labels])


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=3))
def test_a_token_sees_the_earlier_ones_of_its_document(rows) -> None:
    length = min(map(len, rows))
    tokens = torch.tensor([row[:length] for row in rows])
    mask = documents(tokens, EOS)
    assert isinstance(mask, Tensor) and mask.shape == (len(rows), 1, length, length)
    for row, query, key in torch.cartesian_prod(*map(torch.arange, (len(rows), length, length))).tolist():
        ended = EOS in tokens[row, key:query].tolist()  # between the two, the key itself included
        assert mask[row, 0, query, key].item() == (key <= query and not ended)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.booleans())
def test_a_document_in_a_row_has_the_loss_it_has_alone(lengths, qk_norm) -> None:
    torch.manual_seed(3)
    model = Decoder(Model(**{**SHAPE, "initializer_range": 0.3}, qk_norm=qk_norm))
    tokens, places = row_of(lengths)
    together = losses(model, tokens, documents(tokens[:, :-1], EOS))
    for place in places:
        if place.stop - place.start > 1:
            alone = losses(model, tokens[:, place], None)
            torch.testing.assert_close(together[place.start : place.stop - 1], alone, rtol=1e-4, atol=1e-5)


def test_without_the_mask_it_has_another(decoder) -> None:
    model = decoder(initializer_range=0.3)
    tokens, (_, second) = row_of([9, 9])
    alone, together = losses(model, tokens[:, second], None), losses(model, tokens, None)[second.start :]
    assert (alone - together).abs().max() > 0.1


def test_one_document_is_a_row_without_a_mask(decoder) -> None:
    model = decoder(initializer_range=0.3)
    tokens, _ = row_of([20])
    torch.testing.assert_close(losses(model, tokens, documents(tokens[:, :-1], EOS)), losses(model, tokens, None))


def test_what_another_document_says_changes_nothing(decoder) -> None:
    model = decoder(initializer_range=0.3)
    tokens, (first, second) = row_of([9, 9])
    other = tokens.clone()
    other[0, first.start : first.stop - 1] = tokens[0, first.start : first.stop - 1] % 96 + 1
    before, after = (losses(model, row, documents(row[:, :-1], EOS)) for row in (tokens, other))
    assert torch.equal(before[second.start :], after[second.start :])
    assert not torch.isclose(before[: first.stop - 1], after[: first.stop - 1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_documents_alone(decoder, dtype) -> None:
    """Two rows of documents at different places: every label that a document has alone, and no other."""
    together, apart = decoder(dtype, initializer_range=0.1), decoder(dtype, initializer_range=0.1)
    rows = [row_of([5, 8, 7], seed=1), row_of([11, 9], seed=2)]
    tokens = torch.cat([row for row, _ in rows])
    labels = torch.where(tokens[:, :-1] == EOS, IGNORED, tokens[:, 1:])  # the next document's first token is no target
    together.loss_sum(tokens[:, :-1], labels, documents(tokens[:, :-1], EOS)).backward()
    for row, places in rows:
        for place in places:
            apart.loss_sum(row[:, place][:, :-1], row[:, place][:, 1:]).backward()
    for one, other in zip(together.parameters(), apart.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        difference = (one.grad - other.grad).norm() / other.grad.norm()
        assert difference < (1e-5 if dtype == torch.float32 else 2e-2)
