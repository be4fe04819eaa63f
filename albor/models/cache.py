"""Keys and values of what was read so far, so that each new token costs one position."""

from __future__ import annotations

import torch
from torch import Tensor

from albor.config.schema.model import Model


class KVCache:
    """Preallocated keys and values [L, B, K, S, D].

    Rows may differ in length: each is filled from position 0 on, and what lies at or after its length is never seen.
    """

    def __init__(self, config: Model, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        """Tokens held by each row [B]; lower it to forget the padding of a shorter row."""
        self.span = 0
        """The longest row's length: known without asking the device."""
        self.positions = self.mask = torch.empty(0)

    def extend(self, count: int) -> Tensor:
        """Makes room for ``count`` more tokens per row and gives their positions [B, count].

        Raises ValueError when the capacity is exceeded.
        """
        if self.span + count > self.keys.shape[3]:
            raise ValueError(f"the cache holds {self.keys.shape[3]} positions, {self.span + count} are needed")
        self.positions = self.lengths[:, None] + torch.arange(count, device=self.lengths.device)
        self.lengths = self.lengths + count
        self.span += count
        self.mask = torch.arange(self.span, device=self.lengths.device) <= self.positions[:, None, :, None]
        """Which cached position each new token may see [B, 1, count, S]."""
        return self.positions

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the new keys and values [B, K, count, D] of a layer; gives all of its [B, K, S, D]."""
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        self.keys[layer][rows, :, self.positions] = keys.transpose(1, 2)
        self.values[layer][rows, :, self.positions] = values.transpose(1, 2)
        return self.keys[layer, :, :, : self.span], self.values[layer, :, :, : self.span]

    def keep(self, rows: Tensor, span: int) -> None:
        """Drops every row but those named by ``rows`` (indices); ``span`` is the longest length among them."""
        self.span = span
        self.keys, self.values, self.lengths = self.keys[:, rows], self.values[:, rows], self.lengths[rows]
