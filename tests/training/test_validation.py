"""The validation of several ranks, one after the other in one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from albor.models.attention import Mask
from albor.models.decoder import Decoder
from albor.training.batches import Batch
from albor.training.errors import TrainingError
from albor.training.validation import evaluate

from .toy import MODEL, ToyBatches


def test_training_that_has_diverged_is_ended_without_a_traceback() -> None:
    model = Decoder(MODEL)
    with torch.no_grad():
        model.model.norm.weight.fill_(1e6)
    with pytest.raises(TrainingError, match="training has diverged"):
        evaluate(model, batches(), rows=4, rank=0, world_size=1, sum_ranks=torch.clone, bytes_per_token=None)


class Counting(Decoder):
    """Counts the passes: under FSDP each one waits for the other ranks."""

    passes = 0

    def loss_sum(self, tokens: Tensor, labels: Tensor, mask: Mask = None, *, z_loss: float = 0.0) -> Tensor:
        self.passes += 1
        return super().loss_sum(tokens, labels, mask, z_loss=z_loss)


def batches() -> Iterator[Batch]:
    return iter(ToyBatches(30, 4, seed=7))


@pytest.mark.parametrize("rows", [4, 10, 12, 22])
@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_pass_equally_often_and_together_see_every_label_once(rows: int, world_size: int) -> None:
    torch.manual_seed(0)
    model = Counting(MODEL)
    sums: list[Tensor] = []

    def keep(totals: Tensor) -> Tensor:
        sums.append(totals)
        return torch.ones(2)

    def passes(rank: int, of: int) -> int:
        model.passes = 0
        evaluate(model, batches(), rows=rows, rank=rank, world_size=of, sum_ranks=keep, bytes_per_token=None)
        return model.passes

    whole = passes(0, 1)
    assert {passes(rank, world_size) for rank in range(world_size)} == {-(-whole // world_size)}
    torch.testing.assert_close(torch.stack(sums[1:]).sum(0), sums[0])
