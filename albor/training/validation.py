"""Perplexity of a model over the first rows of the validation data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albor.models.decoder import Decoder
from albor.models.loss import IGNORED, LARGEST
from albor.training.batches import Batch, to_tensors
from albor.training.errors import TrainingError


@torch.no_grad()
def evaluate(
    model: Decoder,
    batches: Iterable[Batch],
    *,
    rows: int,
    rank: int,
    world_size: int,
    sum_ranks: Callable[[Tensor], Tensor],
    bytes_per_token: float | None,
    mask: Callable[[Tensor], Any] = lambda tokens: None,
) -> dict[str, float | int]:
    """``val_loss`` (mean cross-entropy in nats over at most ``rows`` rows), ``val_ppl`` and ``val_bits_per_byte``.

    The ranks take turns with the batches, all equally often; ``mask`` says which tokens see which. Raises
    TrainingError when training has diverged or there are no labels.
    """
    device = model.model.embed_tokens.weight.device
    totals = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in _turns(_first(batches, rows), rank, world_size):
        tokens, labels = (tensor.to(device) for tensor in to_tensors(batch))
        totals += torch.stack(
            (model.loss_sum(tokens, labels, mask(tokens)).double(), (labels != IGNORED).sum().double())
        )
    nll, count = sum_ranks(totals).tolist()
    if not count:
        raise TrainingError("the validation rows hold no labels", help="give a validation split that is not empty")
    loss = nll / count
    if not loss <= LARGEST:  # nor if it is not a number
        raise TrainingError(
            f"the validation loss is {loss:.4g}: training has diverged",
            help="lower optim.lr, or raise trainer.warmup_steps; a checkpoint of this step holds these weights, and "
            "the same command stops here again",
        )
    metrics: dict[str, float | int] = {"val_loss": loss, "val_ppl": math.exp(loss)}
    if bytes_per_token is not None:
        metrics["val_bits_per_byte"] = loss / math.log(2) / bytes_per_token
    return metrics


def _first(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    for tokens, labels, *_ in batches:
        yield tokens[:rows], labels[:rows]
        rows -= len(tokens)
        if rows <= 0:
            return


def _turns(batches: Iterable[Batch], rank: int, world_size: int) -> Iterator[Batch]:
    """This rank's share of ``batches``. A rank that has none left when others do gets their last one without labels:
    a pass through a sharded model needs all ranks."""
    stream = iter(batches)
    while turn := list(islice(stream, world_size)):
        tokens, labels, *_ = turn[min(rank, len(turn) - 1)]
        yield tokens, labels if rank < len(turn) else np.full_like(labels, IGNORED)
