"""From gradients to the next weights: clipping, the optimizers, fp8's scales, and what a checkpoint keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from albor.config.schema.optim import Optimizer
from albor.models.decoder import Decoder
from albor.models.fp8 import Scales
from albor.training import optimizers, parallel, rng

CALIBRATIONS = 2
"""Passes over the first batch that set the scales of fp8: the second one sees what the first had to guess."""


class Stepper:
    """Steps ``decoder`` by the gradients that its parameters hold, without waiting for the device."""

    def __init__(
        self,
        decoder: Decoder,
        optim: Optimizer,
        steppers: list[torch.optim.Optimizer],
        device: torch.device,
        *,
        fp8_tokens: int | None,
    ) -> None:
        """``steppers`` are ``optimizers.build``'s; ``fp8_tokens`` of a step on this rank, None for other precisions."""
        self.decoder, self.device = decoder, device
        self._optimizers, self._clip = steppers, optimizers.Clip(optim, device)
        if fp8_tokens is not None:
            decoder.fp8 = Scales(decoder.config.num_hidden_layers, device, fp8_tokens)

    def calibrate(self, backward: Callable[[], object]) -> None:
        """Sets fp8's scales, if it has any, by passes over the first micro-batch that leave nothing else behind."""
        scales = self.decoder.fp8
        if scales is None:
            return
        before = rng.capture(self.device)
        for _ in range(CALIBRATIONS):
            backward()
            parallel.max_ranks(scales.seen)
            scales.calibrate()
        self.decoder.zero_grad(set_to_none=True)
        rng.restore(before, self.device)

    def observe(self) -> None:
        """After each backward pass."""
        if self.decoder.fp8 is not None:
            self.decoder.fp8.observe()

    def step(self, loss: Tensor, lr_factor: float) -> tuple[Tensor, Tensor]:
        """One step at the share ``lr_factor`` of the peak rates, if ``loss`` and the gradient's norm are finite.

        Gives that norm before and after clipping (float32 scalars); leaves no gradients.
        """
        optimizers.set_rate(self._optimizers, lr_factor)
        norm, clipped = self._clip(self.decoder.parameters())
        optimizers.step_if(self._optimizers, loss.isfinite() & norm.isfinite())
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.decoder.fp8 is not None:
            parallel.max_ranks(self.decoder.fp8.seen)
            self.decoder.fp8.advance()
        return norm, clipped

    def moments(self) -> dict[str, Tensor]:
        """The optimizers' state by parameter name, not copied."""
        return optimizers.state_by_name(self.decoder, self._optimizers)

    def state(self) -> dict[str, Any]:
        """The rest of what a checkpoint keeps (JSON)."""
        return {"clip": self._clip.state(), "fp8": None if self.decoder.fp8 is None else self.decoder.fp8.state()}

    def restore(self, moments: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """The inverse of ``moments`` and ``state``. Raises TrainingError when they are not of this run."""
        optimizers.restore(self.decoder, self._optimizers, moments)
        self._clip.load(state["clip"])
        if self.decoder.fp8 is not None:
            self.decoder.fp8.load(state["fp8"])
