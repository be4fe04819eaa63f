"""Which weights stay: C-KERNEL-008, and Wanda's scores."""

from __future__ import annotations

import pytest
import torch

from albor.transforms.prune import Group, keep_mask, wanda_scores

CASES = 10_000


@pytest.mark.contract("C-KERNEL-008", level=3)
@pytest.mark.parametrize("per", ["row", "tensor"])
def test_the_target_is_reached_and_the_lowest_go_first(per: Group) -> None:
    generator = torch.Generator().manual_seed(0)
    for case in range(CASES // 2):
        rows, width = 1 + case % 13, 1 + case % 130
        scores = torch.randn(rows, width, generator=generator).abs()
        if case % 5 == 0:
            scores = (2 * scores).round()  # many are equal
        sparsity = torch.rand((), generator=generator, dtype=torch.float64).item()
        keep = keep_mask(scores, sparsity, per=per)
        removed = (~keep).sum().item()
        assert abs(removed - sparsity * keep.numel()) <= 0.5
        if keep.numel() >= 500:
            assert abs(removed / keep.numel() - sparsity) <= 0.001
        groups = (scores, keep) if per == "row" else (scores.view(1, -1), keep.view(1, -1))
        gone = groups[0].masked_fill(groups[1], -torch.inf).amax(-1)
        stays = groups[0].masked_fill(~groups[1], torch.inf).amin(-1)
        assert (gone <= stays).all()
        if per == "row":
            assert ((~keep).sum(-1) - sparsity * width).abs().max() <= 1, "rows differ by one at most"


def test_half_of_an_even_row_is_half_of_every_row() -> None:
    keep = keep_mask(torch.rand(100, 64), 0.5)
    assert (keep.sum(-1) == 32).all()


@pytest.mark.parametrize(("sparsity", "kept"), [(0.0, 12), (1.0, 0)])
def test_nothing_and_all(sparsity: float, kept: int) -> None:
    for per in ("row", "tensor"):
        assert keep_mask(torch.ones(3, 4), sparsity, per=per).sum() == kept


def test_wandas_scores_weigh_a_weight_by_its_input() -> None:
    weight, norms = torch.tensor([[1.0, -3.0], [0.5, 0.1]]), torch.tensor([4.0, 1.0])
    torch.testing.assert_close(wanda_scores(weight, norms), torch.tensor([[4.0, 3.0], [2.0, 0.1]]))
    # By rows, each output keeps its best; by tensor, the second output loses all.
    assert keep_mask(wanda_scores(weight, norms), 0.5).tolist() == [[True, False], [True, False]]
    assert keep_mask(wanda_scores(weight, norms), 0.5, per="tensor").tolist() == [[True, True], [False, False]]
