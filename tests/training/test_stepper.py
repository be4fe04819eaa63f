"""fp8's scales between passes and steps: everything of them that needs no device."""

from __future__ import annotations

import torch

from albor.config.schema.optim import AdamW
from albor.models.decoder import Decoder
from albor.models.fp8 import KINDS, Scales
from albor.training import optimizers
from albor.training.batches import Window
from albor.training.stepper import CALIBRATIONS, Stepper

from .toy import MODEL

CPU = torch.device("cpu")
OPTIM = AdamW(lr=1e-2)
TOKENS = torch.arange(16).view(2, 8)


def stepper() -> Stepper:
    torch.manual_seed(0)
    decoder = Decoder(MODEL)
    return Stepper(decoder, OPTIM, optimizers.build(decoder, OPTIM, compile=False), CPU, fp8_tokens=128)


def scales(of: Stepper) -> Scales:
    assert of.decoder.fp8 is not None
    return of.decoder.fp8


def meet(of: Stepper, magnitude: float) -> torch.Tensor:
    """A backward pass (computed in float32) in which every fp8 tensor met this magnitude."""
    of.decoder.eval()  # without fp8
    loss = of.decoder.loss_sum(TOKENS[:, :-1], TOKENS[:, 1:]) / 14
    loss.backward()
    of.decoder.train()
    scales(of).probe.grad = torch.full((MODEL.num_hidden_layers, KINDS), magnitude)
    of.observe()
    return loss.detach()


def test_calibrating_leaves_scales_and_nothing_else() -> None:
    made, passes = stepper(), []
    guessed = scales(made).scale.clone()

    def backward() -> None:
        torch.rand(3)
        passes.append(meet(made, 4.0))

    before = torch.get_rng_state()
    made.calibrate(backward)
    assert len(passes) == CALIBRATIONS
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in made.decoder.parameters())
    assert (scales(made).history == 4.0).all() and not torch.equal(scales(made).scale, guessed)


def test_the_magnitudes_of_a_step_scale_the_next_one() -> None:
    made = stepper()
    made.calibrate(lambda: meet(made, 4.0))
    before = scales(made).scale.clone()
    norm, clipped = made.step(meet(made, 8.0), 1.0)
    assert norm.isfinite() and clipped <= norm
    torch.testing.assert_close(scales(made).scale, before / 2)


def test_a_checkpoint_keeps_the_scales() -> None:
    made, other = stepper(), stepper()
    made.calibrate(lambda: meet(made, 4.0))
    made.step(meet(made, 8.0), 1.0)
    other.restore({name: tensor.clone() for name, tensor in made.moments().items()}, made.state())
    assert torch.equal(scales(other).scale, scales(made).scale)
    assert other.state() == made.state()


def test_a_window_is_moved_whole() -> None:
    window = Window([(TOKENS, TOKENS), (TOKENS, TOKENS)], 7, {"row": 3})
    moved = window.to(torch.device("meta"))
    assert [t.device.type for batch in moved.batches for t in batch] == ["meta"] * 4
    assert (moved.valid, moved.position) == (7, {"row": 3})
    assert window.to(CPU) is window
