"""What follows a step on the host: the choice of each row's next token, and what is told of it.

In NumPy, which works on one core: torch's threads would go on waiting for work where llama.cpp's are to compute, and
between two passes over a model's weights no cache is warm, so that each of torch's small operations takes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from albor.inference.engine import MOST_TOLD

if TYPE_CHECKING:
    from albor.inference.slots import Seen, Slots

FEWEST = 0.25
"""Blocks that a row is cut into for its highest numbers, as their number's part of them."""


class Host:
    """The state of slots as arrays of the same memory."""

    def __init__(self, slots: Slots) -> None:
        self.tokens, self.lengths, self.made, self.limits, self.alive, self.fresh, self.drawn = (
            state.numpy()
            for state in (
                slots.tokens, slots.lengths, slots.made, slots.limits, slots.alive, slots.fresh, slots.drawn,
            )
        )  # fmt: skip
        self.uniform, self.knobs, self.top_k = slots.uniform.numpy(), slots.knobs.numpy(), slots.top_k.numpy()
        self._ends = frozenset(slots.eos.tolist())
        self._told: tuple[np.ndarray, ...] = ()

    def take(self, logits: np.ndarray, ranked: bool) -> None:
        """Chooses the next tokens of the first rows by their logits [W, V], float32."""
        for row, (numbers, at, place) in enumerate(zip(logits, self.made.tolist(), self.fresh.tolist(), strict=False)):
            best = highest(numbers, MOST_TOLD) if ranked else np.empty(0, np.int64)
            allowed = narrow(numbers, int(self.top_k[row])) if ranked else numbers
            token = choose(allowed, float(self.uniform[row, at]), *self.knobs[row].tolist())
            self.tokens[row] = self.drawn[row, place] = token
            if ranked:
                self._tell(row, place, numbers, token, best)
            if self.alive[row]:
                for count in (self.made, self.lengths, self.fresh):
                    count[row] += 1
                self.alive[row] = at + 1 < self.limits[row] and token not in self._ends

    def _tell(self, row: int, place: int, logits: np.ndarray, token: int, best: np.ndarray) -> None:
        if not self._told:
            shape = *self.drawn.shape, len(best)
            self._told = np.zeros(shape[:2], np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        logprobs, likeliest, most = self._told
        peak = logits.max()
        whole = peak + np.log(np.exp(logits - peak).sum(dtype=np.float64))
        logprobs[row, place] = logits[token] - whole
        likeliest[row, place], most[row, place] = best, logits[best] - whole

    def look(self, live: int, ranked: bool) -> Seen:
        """How the first ``live`` rows stand."""
        from albor.inference.slots import Seen

        states = (self.fresh, self.alive, self.drawn, *(self._told if ranked else ()))
        return Seen(*(state[:live].copy() for state in states))


def highest(numbers: np.ndarray, count: int) -> np.ndarray:
    """The places of the ``count`` highest numbers [V], or of all, the highest first, and of equals the first."""
    count = min(count, len(numbers))
    size = max(1, int(FEWEST * len(numbers) / count))
    peaks = np.maximum.reduceat(numbers, np.arange(0, len(numbers), size))
    # Each block has one that is as high as its peak, so the highest ones are no lower than the last of as many peaks.
    least = np.partition(peaks, len(peaks) - count)[len(peaks) - count]
    near = np.flatnonzero(numbers >= least)
    if len(near) < count:
        return np.arange(count)  # of what are not numbers
    return near[np.argsort(-numbers[near], kind="stable")[:count]]


def narrow(logits: np.ndarray, top_k: int) -> np.ndarray:
    """Logits [V] with all but the ``top_k`` highest at -inf, and those as high as the last of these; 0 keeps all."""
    if not 0 < top_k < len(logits):
        return logits
    return np.where(logits < logits[highest(logits, top_k)[-1]], np.float32(-np.inf), logits)


def choose(logits: np.ndarray, uniform: float, sharpness: float, top_p: float) -> int:
    """The next token from logits [V], float32, a uniform number, and what ``sampling.knobs`` says.

    After the temperature, the fewest likeliest tokens whose probabilities reach top_p stay (Holtzman et al., 2020), and
    with the last of them all that are exactly as likely; the draw inverts their distribution function, in the order
    of token ids.
    """
    if top_p == 0:
        return int(logits.argmax())
    depths = (logits.max() - logits) * np.float32(sharpness)
    shares = np.exp(-depths)
    kept = None
    if top_p < 1:
        # Tokens of less than (1 - top_p) / V each do not reach 1 - top_p together, so the others reach top_p: only
        # those need an order.
        whole = float(shares.sum(dtype=np.float64))
        likely = np.flatnonzero(shares >= (1 - top_p) / len(logits) * whole)
        ordered = np.sort(depths[likely])
        reached = np.exp(-ordered.astype(np.float64)).cumsum()
        last = ordered[min(int((reached < top_p * whole).sum()), len(ordered) - 1) :][:1]
        kept = likely[(depths[likely] <= last) if len(last) else []]
        shares = shares[kept]
    reached = shares.cumsum(dtype=np.float64)
    if not len(reached):
        return len(logits) - 1  # of logits that are not numbers
    place = min(int(np.searchsorted(reached, uniform * reached[-1], side="right")), len(reached) - 1)
    return place if kept is None else int(kept[place])
