"""Muon: momentum, orthogonalised (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/).

The arithmetic is that of ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, which takes the matrices one by
one (thousands of small kernels at 350m) and cannot be told on the device to skip a step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from albor.config.schema.optim import Muon as MuonConfig

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x ← ax + bx³ + cx⁵, chosen for its slope at zero: it brings singular values near 1, not to 1."""
EPS = 1e-7
RMS = 0.2
"""Root mean square of AdamW's usual update, to which Muon's is scaled (Liu et al., 2025, arXiv:2502.16982)."""
CHUNK = 2**24
"""Elements that are orthogonalised at once: some 30 bytes of working memory each in eager mode, half a gigabyte."""


class Muon(torch.optim.Optimizer):
    """Muon on matrices [rows, columns], with decoupled weight decay.

    m ← μm + (1 − μ)g;  W ← (1 − lr·decay)·W − lr·0.2·√max(rows, columns)·orthogonal(μm + (1 − μ)g), as Nesterov's.

    Every parameter is orthogonalised by itself, so queries, keys, values, gate and up have to be parameters of their
    own: a fused matrix may exist at run time only. State: a ``momentum_buffer`` for each parameter, in its dtype. A
    ``found_inf`` that is not zero, set as GradScaler sets it, leaves weights and state as they are, without asking the
    host.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optim: MuonConfig,
        *,
        compile: bool,  # noqa: A002 - the trainer's word for it
    ) -> None:
        self.optim, self.compile = optim, compile
        super().__init__(parameters, {"lr": optim.matrix_lr, "peak_lr": optim.matrix_lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step, by the gradients that are there."""
        for group in self.param_groups:
            for chunk in chunks([p for p in group["params"] if p.grad is not None]):
                self._step_chunk(chunk, group["lr"])

    def _step_chunk(self, matrices: list[nn.Parameter], lr: float) -> None:
        device = matrices[0].device
        update = compiled() if self.compile and device.type == "cuda" else update_chunk
        # Scalars in tensors: a compiled function would take a number for a constant and be compiled again.
        # torch.full does not wait for the device, torch.tensor does.
        update(
            [p.detach() for p in matrices],
            [p.grad for p in matrices if p.grad is not None],
            [self._momentum(p) for p in matrices],
            torch.zeros((), device=device) if self.found_inf is None else self.found_inf,
            torch.full((), lr, device=device),
            torch.full((), 1 - lr * self.optim.weight_decay, device=device),
            momentum=self.optim.momentum,
            steps=self.optim.newton_schulz_steps,
        )

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def chunks(matrices: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Matrices of equal shape, at most CHUNK elements at a time; evenly cut, so that there are few sizes to compile."""
    alike = defaultdict(list)
    for matrix in matrices:
        alike[matrix.shape].append(matrix)
    for shape, group in alike.items():
        count = math.ceil(len(group) / max(1, CHUNK // shape.numel()))
        cuts = [index * len(group) // count for index in range(count + 1)]
        yield from (group[start:end] for start, end in pairwise(cuts))


def update_chunk(
    weights: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    found_inf: Tensor,
    lr: Tensor,
    shrink: Tensor,
    *,
    momentum: float,
    steps: int,
) -> None:
    """One step of ``weights`` (N matrices [rows, columns]) and of their momenta, in place."""
    gradient, before, old = torch.stack(gradients), torch.stack(weights), torch.stack(momenta)
    new = old.lerp(gradient, 1 - momentum)
    direction = orthogonalise(gradient.lerp(new, momentum), steps).float()
    after = before * shrink - direction * (lr * RMS * math.sqrt(max(before.shape[1:])))
    skip = found_inf != 0
    after, new = torch.where(skip, before, after), torch.where(skip, old, new)
    for index, (weight, buffer) in enumerate(zip(weights, momenta, strict=True)):
        weight.copy_(after[index])
        buffer.copy_(new[index])


@cache
def compiled() -> Callable[..., None]:
    """``update_chunk``, compiled for each shape and number of matrices."""
    function: Callable[..., None] = torch.compile(update_chunk, dynamic=False, fullgraph=True)
    return function


def precision(device: torch.device) -> torch.dtype:
    """What Newton-Schulz computes in: bfloat16 on a GPU, like torch's; CPUs without matrix units take 30 times as long
    for a product in it as in float32."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Newton-Schulz on each of ``matrices`` [N, rows, columns]: UΣVᵀ becomes about UVᵀ."""
    x = matrices.to(precision(matrices.device))
    tall = x.shape[1] > x.shape[2]
    if tall:  # the Gram matrix of the shorter side is the smaller one
        x = x.mT
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=EPS)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
