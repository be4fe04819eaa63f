"""A teacher's probabilities written down: rows in, what is stored of each position out, as fast as it computes.

Shapes: B rows, T tokens, V words of the student's vocabulary, k tokens kept of each position.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from albor.data.logits import Layout, Part
from albor.models.attention import Mask
from albor.models.loss import LOGIT_BYTES
from albor.training.teacher import Teacher

BLOCK = 256
"""Tokens that are summed up together, so that a draw need not look at all."""
EPSILON = 2**-23
"""Of float32."""
AHEAD = 3
"""Batches that are computed while earlier ones are being written."""


@torch.no_grad()
def dictate(
    teacher: Teacher,
    tokens: Tensor,
    mask: Mask,
    layout: Layout,
    *,
    vocab_size: int,
    seed: int,
    compile: bool = False,  # noqa: A002 - the trainer's word
) -> tuple[Tensor, ...]:
    """What is kept of the distributions after each of ``tokens`` [B, T]: ids [B, T, k], and log-probabilities [B, T, k]
    (float32) of the likeliest. The same batch and seed give the same draws on the same device."""
    head = teacher.head[:vocab_size]
    hidden = teacher.hidden(tokens, mask).flatten(0, 1)
    generator = torch.Generator(hidden.device).manual_seed(seed)
    keep = likeliest if layout.keep == "top_k" else partial(drawn, generator=generator)
    found = [
        keep(F.linear(part, head), layout.k, layout.temperature, compile=compile)
        for part in hidden.split(max(1, LOGIT_BYTES[hidden.device.type] // (4 * vocab_size)))
    ]
    return tuple(torch.cat(parts).unflatten(0, tokens.shape) for parts in zip(*found, strict=True))


def likeliest(logits: Tensor, k: int, temperature: float, *, compile: bool) -> tuple[Tensor, Tensor]:  # noqa: A002
    """The ids and softened log-probabilities of the k likeliest [n, k]."""
    values, ids = logits.topk(k, sorted=False)
    log_z = (_compiled(_log_z) if compile else _log_z)(logits, temperature)
    return ids.int(), values.float() / temperature - log_z


def _log_z(logits: Tensor, temperature: float) -> Tensor:
    return (logits.float() / temperature).logsumexp(-1, keepdim=True)


def drawn(
    logits: Tensor,
    k: int,
    temperature: float,
    *,
    generator: torch.Generator,
    compile: bool,  # noqa: A002
) -> tuple[Tensor]:
    """k tokens drawn from softmax(logits / T), with replacement [n, k].

    A draw falls into a block of BLOCK tokens first, then into the block: the whole distribution is read once, to sum up
    its blocks, and is never written.
    """
    share = torch.rand(len(logits), k, device=logits.device, generator=generator)
    return ((_compiled(_choose) if compile else _choose)(logits, share, temperature),)


def _choose(logits: Tensor, share: Tensor, temperature: float) -> Tensor:
    """The tokens [n, k] at the shares [n, k], 0 to 1, of each row's probability mass."""
    missing = -logits.shape[-1] % BLOCK
    if missing:
        logits = F.pad(logits, (0, missing), value=-torch.inf)
    blocks = logits.unflatten(-1, (-1, BLOCK))
    soft = blocks.float() / temperature
    peak = soft.amax((-1, -2))[:, None, None]
    sums = (soft - peak).exp().sum(-1)
    ends = sums.cumsum(-1)
    place = share * ends[:, -1:]
    block = torch.searchsorted(ends, place, right=True).clamp(max=ends.shape[-1] - 1)
    place = place - (ends.gather(-1, block) - sums.gather(-1, block))
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, BLOCK)).float()
    ends = (inside / temperature - peak).exp().cumsum(-1)
    # What rounding leaves of a block's sum belongs to its last token that has a share.
    place = torch.minimum(place, ends[..., -1] * (1 - EPSILON))
    within = torch.searchsorted(ends, place[:, :, None], right=True)[..., 0]
    return (block * BLOCK + within).int()


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False, fullgraph=True)


class Copies:
    """Results on their way to the host: the device goes on while they travel."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self._event: Any = None
        if tensors[0].is_cuda:  # gpu
            self._host = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in tensors]
            for host, tensor in zip(self._host, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._host = list(tensors)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        if self._event is not None:  # gpu
            self._event.synchronize()
        return tuple(host.numpy() for host in self._host)


def write_behind(parts: Iterable[Copies], write: Callable[[Iterator[Part]], None]) -> None:
    """Hands ``parts`` to ``write`` in a thread of its own, AHEAD of them at most waiting. What either raises is raised
    here, and then the other has ended too."""
    waiting: queue.Queue[Copies | None] = queue.Queue(AHEAD)
    failed: list[BaseException] = []
    broken = threading.Event()

    def take() -> Iterator[Part]:
        while (part := waiting.get()) is not None:
            if broken.is_set():
                raise Broken
            yield part.arrays()

    def work() -> None:
        try:
            write(take())
        except BaseException as error:
            failed.append(error)
            while waiting.get() is not None:  # so that nobody waits for room
                pass

    thread = threading.Thread(target=work, name="logits")
    thread.start()
    try:
        for part in parts:
            if failed:
                break
            waiting.put(part)
    except BaseException:
        broken.set()
        waiting.put(Copies((torch.empty(0),)))
        raise
    finally:
        waiting.put(None)
        thread.join()
    if failed:
        raise failed[0]


class Broken(Exception):
    """What is being written will not be whole."""


def apart(stored: Part, live: tuple[Tensor, ...], layout: Layout) -> float:
    """How far stored parts are from what the teacher says again: the largest difference of a log-probability of the
    same token or chunk, infinity where these are others, or for draws 0 when all are equal and infinity when not."""
    if layout.keep == "chunks":
        known, again = torch.from_numpy(stored[0]), live[0]
        if not torch.equal(known.clamp(min=0), again.clamp(min=0)):  # where chunks end, and which have no score
            return float("inf")
        return float((known - again).abs().max())
    ids = torch.from_numpy(np.ascontiguousarray(stored[0], np.int64)).to(live[0].device)
    if layout.keep == "sampled":
        return 0.0 if torch.equal(ids.int(), live[0]) else float("inf")
    known = torch.from_numpy(stored[1]).to(live[0].device)
    by_id, again = ids.argsort(-1), live[0].argsort(-1)
    if not torch.equal(ids.gather(-1, by_id).int(), live[0].gather(-1, again)):
        return float("inf")
    return float((known.gather(-1, by_id) - live[1].gather(-1, again)).abs().max())
