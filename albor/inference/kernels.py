"""What a decoding step does between its matrix products, on a GPU. Importing this needs Triton.

A row's new token is attended, normed and chosen in one pass each, over no more than the row's own length.
"""

# gpu: the whole file
# Triton's language is not typed.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,misc"
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from albor.inference.narrow import early

if TYPE_CHECKING:
    from albor.inference.slots import Slots

TILE = 8192
"""Bytes of keys read at a time, and of values: three of each are under way, which small GPUs have room for too."""
ATTEND = {"num_warps": 4, "num_stages": 3}
PROGRAMS, MOST_PARTS = 256, 8
"""Programs of attention that keep a GPU busy, and most that share one row's positions."""
CHOOSE = {"BLOCK": 4096, "FEW": 1024, "num_warps": 16}
"""Logits read at a time; candidates looked at at a time."""
SWIGLU = {"BLOCK": 1024, "num_warps": 4}
LOG2E = 1.4426950408889634


@triton.jit
def _add_norm_kernel(x, owed, weight, added, normed, eps, H: tl.constexpr, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    inside = columns < H
    at = tl.program_id(0).to(tl.int64) * H + columns
    total = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(owed + at, mask=inside, other=0.0).to(tl.float32)
    total = total.to(added.dtype.element_ty)
    tl.store(added + at, total, mask=inside)
    wide = total.to(tl.float32)
    wide *= tl.rsqrt(tl.sum(wide * wide) / H + eps)
    wide = wide.to(normed.dtype.element_ty).to(tl.float32)
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + at, (wide * scale).to(normed.dtype.element_ty), mask=inside)


def add_norm(x: Tensor, owed: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x + owed, and its RMSNorm, of rows [N, H]; rounded where ``decoder.RMSNorm`` rounds."""
    rows, width = x.shape
    added, normed = torch.empty_like(x), torch.empty_like(x)
    block = triton.next_power_of_2(width)
    warps = min(8, max(1, block // 256))
    _add_norm_kernel[(rows,)](x, owed, weight, added, normed, eps, width, block, num_warps=warps)
    return added, normed


@triton.jit
def _swiglu_kernel(projected, out, width, BLOCK: tl.constexpr):
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    row = tl.program_id(0).to(tl.int64)
    at = projected + row * 2 * width + columns
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + width, mask=inside, other=0.0).to(tl.float32)
    silu = (gate * tl.sigmoid(gate)).to(out.dtype.element_ty).to(tl.float32)
    tl.store(out + row * width + columns, (silu * up).to(out.dtype.element_ty), mask=inside)


def swiglu(projected: Tensor) -> Tensor:
    """silu(gate) ⊙ up [N, I] of projected [N, 2I], gate in the first columns."""
    rows, width = projected.shape[0], projected.shape[1] // 2
    out = projected.new_empty(rows, width)
    _swiglu_kernel[(rows, triton.cdiv(width, SWIGLU["BLOCK"]))](projected, out, width, **SWIGLU)
    return out


@triton.jit
def _turned(heads, inside, norm, cos, sin, eps, D: tl.constexpr, BLOCK_D: tl.constexpr, NORMED: tl.constexpr):
    """Heads [R, BLOCK_D] that begin at the pointers ``heads`` [R, 1], normed if asked, rotated by their position.

    The pair of place d is (d + D/2) mod D, so that no head is cut in two.
    """
    d = tl.arange(0, BLOCK_D)[None, :]
    pair = (d + D // 2) % D
    x = tl.load(heads + d, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(heads + pair, mask=inside, other=0.0).to(tl.float32)
    if NORMED:
        scale = tl.rsqrt(tl.sum(x * x, axis=1) / D + eps)[:, None]
        x *= scale * tl.load(norm + d, mask=d < D, other=0.0).to(tl.float32)
        y *= scale * tl.load(norm + pair, mask=d < D, other=0.0).to(tl.float32)
    c = tl.load(cos + d % (D // 2)).to(tl.float32)
    s = tl.load(sin + d % (D // 2)).to(tl.float32)
    return x * c + tl.where(d < D // 2, -y, y) * s


@triton.jit
def _mix(q, keys, values, known, scale, peak, total, mixed):
    """One more block of an online softmax (Milakov and Gimelshein, 2018): its highest score, its sum, and values."""
    scores = tl.dot(q, tl.trans(keys), input_precision="ieee") * scale
    scores = tl.where(known[None, :], scores, float("-inf"))
    higher = tl.maximum(peak, tl.max(scores, axis=1))
    weights = tl.exp2(scores - higher[:, None])
    shrunk = tl.exp2(peak - higher)
    total = total * shrunk + tl.sum(weights, axis=1)
    mixed = mixed * shrunk[:, None] + tl.dot(weights.to(values.dtype), values, input_precision="ieee")
    return higher, total, mixed


@triton.jit
def _attend_kernel(projected, q_norm, k_norm, cos, sin, keys, values, lengths, out, parts, turns, by_row, by_head, eps,
                   scale, HEADS: tl.constexpr, KV_HEADS: tl.constexpr, D: tl.constexpr, BLOCK_G: tl.constexpr,
                   BLOCK_D: tl.constexpr, NORMED: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
                   EARLY: tl.constexpr):  # fmt: skip
    """One row and one key head, with all query heads that share it: keys and values are read once.

    The softmax begins with the new token itself, whose key and value are at hand, and goes on over those in the cache.
    Where there are few rows, their positions are shared out among PARTS programs; the last one to end puts together
    what all have found (Dao et al., 2023: flash-decoding).
    """
    row, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + row).to(tl.int32)
    size = tl.cdiv(tl.cdiv(length, PARTS), BLOCK) * BLOCK
    first = part * size
    end = tl.minimum(first + size, length)
    g, d = tl.arange(0, BLOCK_G)[:, None], tl.arange(0, BLOCK_D)[None, :]
    keys += row * by_row + head * by_head
    values += row * by_row + head * by_head
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
    if PARTS > 1:
        # Lengths, keys and values are those of the step before, so these need not wait; the new token must.
        position = first + tl.arange(0, BLOCK)
        known = (position < end)[:, None] & (d < D)
        next_keys = tl.load(keys + position[:, None] * D + d, mask=known, other=0.0)
        next_values = tl.load(values + position[:, None] * D + d, mask=known, other=0.0)
    if EARLY:
        tl.extra.cuda.gdc_wait()
    if part > 0 and first >= length:
        return
    cos += length * (D // 2)
    sin += length * (D // 2)
    GROUP: tl.constexpr = HEADS // KV_HEADS
    asked = (g < GROUP) & (d < D)
    source = projected + row * (HEADS + 2 * KV_HEADS) * D
    q = _turned(source + (head * GROUP + g) * D, asked, q_norm, cos, sin, eps, D, BLOCK_D, NORMED)
    q = q.to(keys.dtype.element_ty)
    if part == 0:
        alone = source + (HEADS + head) * D + tl.zeros((1, 1), tl.int32)
        k = _turned(alone, d < D, k_norm, cos, sin, eps, D, BLOCK_D, NORMED)
        k = k.to(keys.dtype.element_ty)
        v = tl.load(source + (HEADS + KV_HEADS + head) * D + d, mask=d < D, other=0.0)
        tl.store(keys + length * D + d, k, mask=d < D)
        tl.store(values + length * D + d, v, mask=d < D)
        peak = tl.sum(q.to(tl.float32) * k.to(tl.float32), axis=1) * scale
        total = tl.full((BLOCK_G,), 1.0, tl.float32)
        mixed = tl.zeros((BLOCK_G, BLOCK_D), tl.float32) + v.to(tl.float32)
    else:
        peak = tl.full((BLOCK_G,), -1e30, tl.float32)
        total = tl.zeros((BLOCK_G,), tl.float32)
        mixed = tl.zeros((BLOCK_G, BLOCK_D), tl.float32)
    if PARTS == 1:
        for start in range(0, length, BLOCK):
            position = start + tl.arange(0, BLOCK)
            known = (position < length)[:, None] & (d < D)
            now_keys = tl.load(keys + position[:, None] * D + d, mask=known, other=0.0)
            now_values = tl.load(values + position[:, None] * D + d, mask=known, other=0.0)
            peak, total, mixed = _mix(q, now_keys, now_values, position < length, scale, peak, total, mixed)
    else:
        for start in range(first, end, BLOCK):
            position = start + tl.arange(0, BLOCK)
            now_keys, now_values = next_keys, next_values
            known = (position + BLOCK < end)[:, None] & (d < D)
            ahead = (position + BLOCK)[:, None] * D + d
            next_keys = tl.load(keys + ahead, mask=known, other=0.0)
            next_values = tl.load(values + ahead, mask=known, other=0.0)
            peak, total, mixed = _mix(q, now_keys, now_values, position < end, scale, peak, total, mixed)
    last = part == 0
    if PARTS > 1:
        count = tl.maximum(tl.cdiv(length, tl.maximum(size, 1)), 1)
        if count > 1:
            lane = tl.arange(0, BLOCK_G)
            first_of_row = parts + (row * KV_HEADS + head) * PARTS * BLOCK_G * (BLOCK_D + 2)
            here = first_of_row + part * BLOCK_G * (BLOCK_D + 2)
            tl.store(here + g * BLOCK_D + d, mixed)
            tl.store(here + BLOCK_G * BLOCK_D + lane, peak)
            tl.store(here + BLOCK_G * (BLOCK_D + 1) + lane, total)
            tl.debug_barrier()
            turn = turns + row * KV_HEADS + head
            last = tl.atomic_add(turn, 1, sem="acq_rel") == count - 1
            tl.debug_barrier()
            tl.store(turn, 0, mask=last)
            for other in range(tl.where(last, count, 0)):
                there = first_of_row + other * BLOCK_G * (BLOCK_D + 2)
                their_peak = tl.load(there + BLOCK_G * BLOCK_D + lane, cache_modifier=".cg")
                their_total = tl.load(there + BLOCK_G * (BLOCK_D + 1) + lane, cache_modifier=".cg")
                theirs = tl.load(there + g * BLOCK_D + d, cache_modifier=".cg")
                higher = tl.maximum(peak, their_peak)
                # Its own part it has already.
                shrunk, grown = tl.exp2(peak - higher), tl.where(other == part, 0.0, tl.exp2(their_peak - higher))
                total = total * shrunk + their_total * grown
                mixed = mixed * shrunk[:, None] + theirs * grown[:, None]
                peak = higher
    target = out + row * HEADS * D + (head * GROUP + g) * D + d
    tl.store(target, (mixed / total[:, None]).to(out.dtype.element_ty), mask=asked & last)


def attend(
    projected: Tensor,
    norms: tuple[Tensor, Tensor] | None,
    rotation: tuple[Tensor, Tensor],
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    eps: float,
    turns: Tensor,
) -> Tensor:
    """What one new token per row sees [B, heads·D]; its own key and value are written to the cache.

    ``projected`` [B, (heads + 2K)·D] has its queries, keys and values, as yet without norm (``norms``, if any, by
    ``eps``) and rotation. ``rotation`` is cosines and sines [S, D/2]; ``keys`` and ``values`` are [≥B, K, S, D], of
    which a row's first ``lengths`` [≥B] positions are read and the next is written. ``turns`` [≥B, K] int32 are zero
    before and after.
    """
    rows, kv_heads, width = projected.shape[0], keys.shape[1], keys.shape[3]
    heads = projected.shape[1] // width - 2 * kv_heads
    out = projected.new_empty(rows, heads * width)
    q_norm, k_norm = norms or (projected, projected)
    block_g, block_d = max(16, triton.next_power_of_2(heads // kv_heads)), max(16, triton.next_power_of_2(width))
    block = min(64, max(16, TILE // (block_d * keys.itemsize)))
    shared_out = max(1, min(MOST_PARTS, PROGRAMS // (rows * kv_heads)))
    parts = torch.empty(
        rows * kv_heads * shared_out * block_g * (block_d + 2), dtype=torch.float32, device=projected.device
    )
    soon = projected.is_cuda and early(projected.device)
    _attend_kernel[(rows, kv_heads, shared_out)](
        projected, q_norm, k_norm, *rotation, keys, values, lengths, out, parts, turns, *keys.stride()[:2], eps,
        LOG2E * width**-0.5, HEADS=heads, KV_HEADS=kv_heads, D=width, BLOCK_G=block_g, BLOCK_D=block_d,
        NORMED=norms is not None, BLOCK=block, PARTS=shared_out, EARLY=soon,
        **ATTEND, **({"launch_pdl": True} if soon else {}),
    )  # fmt: skip
    return out


@triton.jit
def _weight_down_to(bits, depths, count, FEW: tl.constexpr):
    """The summed weight of the first ``count`` candidates that lie no deeper than the depth of these bits."""
    sums = tl.zeros((FEW,), tl.float32)
    for start in range(0, count, FEW):
        place = start + tl.arange(0, FEW)
        depth = tl.load(depths + place, mask=place < count, other=float("inf"))
        kept = depth.to(tl.int32, bitcast=True) <= bits
        sums += tl.where(kept, tl.exp(-depth), 0.0)
    return tl.sum(sums)


@triton.jit
def _chosen(logits, uniform, sharpness, top_p, depths, tokens, vocab, BLOCK: tl.constexpr, FEW: tl.constexpr):
    """One row's token: ``sampling.choose``. A token's depth is how far below the likeliest it lies, over the
    temperature."""
    highest = tl.full((BLOCK,), float("-inf"), tl.float32)
    at = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, vocab, BLOCK):
        token = start + tl.arange(0, BLOCK)
        logit = tl.load(logits + token, mask=token < vocab, other=float("-inf"))
        at = tl.where(logit > highest, token, at)
        highest = tl.maximum(highest, logit)
    peak = tl.max(highest)
    found = tl.min(tl.where(highest == peak, at, vocab - 1))
    if top_p > 0:
        sums = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, vocab, BLOCK):
            token = start + tl.arange(0, BLOCK)
            depth = (peak - tl.load(logits + token, mask=token < vocab, other=float("-inf"))) * sharpness
            sums += tl.exp(-depth)
        whole = tl.sum(sums)
        # Tokens of less than (1 - top_p) / V each do not reach 1 - top_p together, so the others reach top_p: only
        # those, few as a rule, are looked at again.
        least = (1 - top_p) / vocab * whole
        count = 0
        for start in range(0, vocab, BLOCK):
            token = start + tl.arange(0, BLOCK)
            depth = (peak - tl.load(logits + token, mask=token < vocab, other=float("-inf"))) * sharpness
            candidate = (tl.exp(-depth) >= least) & (token < vocab)
            place = count + tl.cumsum(candidate.to(tl.int32), axis=0) - 1
            tl.store(depths + place, depth, mask=candidate)
            tl.store(tokens + place, token, mask=candidate)
            count += tl.sum(candidate.to(tl.int32))
        tl.debug_barrier()
        # The smallest depth down to which the sum reaches top_p, by bisection over the bits: those of numbers that are
        # not negative are in their order. A sure model has it at the likeliest, so that is asked first.
        reaching = 0x7F800000  # infinity: a top_p of 1 is reached by all
        below = tl.where(top_p < 1.0, -1, 0x7F800000 - 1)
        asked = 0
        place = tl.arange(0, FEW)
        depth = tl.load(depths + place, mask=place < count, other=float("inf"))
        weights, bits = tl.exp(-depth), depth.to(tl.int32, bitcast=True)
        while reaching - below > 1:
            if count <= FEW:
                weight = tl.sum(tl.where(bits <= asked, weights, 0.0))
            else:
                weight = _weight_down_to(asked, depths, count, FEW)
            enough = weight >= top_p * whole
            reaching = tl.where(enough, asked, reaching)
            below = tl.where(enough, below, asked)
            asked = below + (reaching - below) // 2
        target = uniform * _weight_down_to(reaching, depths, count, FEW)
        reached = 0.0
        first = count
        last = 0
        for start in range(0, count, FEW):
            place = start + tl.arange(0, FEW)
            depth = tl.load(depths + place, mask=place < count, other=float("inf"))
            share = tl.where(depth.to(tl.int32, bitcast=True) <= reaching, tl.exp(-depth), 0.0)
            sums_few = reached + tl.cumsum(share, axis=0)
            first = tl.minimum(first, tl.min(tl.where((sums_few > target) & (share > 0), place, count)))
            last = tl.maximum(last, tl.max(tl.where(share > 0, place, 0)))
            reached += tl.sum(share)
        place = tl.where(first < count, first, last)
        found = tl.load(tokens + place, mask=count > 0, other=0)
    return found.to(tl.int64)


@triton.jit
def _choose_kernel(logits, uniform, knobs, depths, tokens, out, vocab, BLOCK: tl.constexpr, FEW: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    sharpness, top_p, at = tl.load(knobs + 2 * row), tl.load(knobs + 2 * row + 1), row * vocab
    found = _chosen(logits + at, tl.load(uniform + row), sharpness, top_p, depths + at, tokens + at, vocab, BLOCK, FEW)
    tl.store(out + row, found)


def choose(logits: Tensor, uniform: Tensor, knobs: Tensor) -> Tensor:
    """``host.choose`` for the rows of float32 logits, without sorting them."""
    rows, vocab = logits.shape
    depths, tokens = torch.empty_like(logits), torch.empty_like(logits, dtype=torch.int32)
    out = torch.empty(rows, dtype=torch.int64, device=logits.device)
    _choose_kernel[(rows,)](logits, uniform, knobs, depths, tokens, out, vocab, **CHOOSE)
    return out


@triton.jit
def _take_kernel(logits, uniform, knobs, depths, candidates, eos, tokens, lengths, made, limits, alive, fresh, drawn,
                 vocab, capacity, ends, STEPS: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK: tl.constexpr,
                 FEW: tl.constexpr):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at, count = row * vocab, tl.load(made + row)
    found = _chosen(logits + at, tl.load(uniform + row * capacity + count), tl.load(knobs + 2 * row),
                    tl.load(knobs + 2 * row + 1), depths + at, candidates + at, vocab, BLOCK, FEW)  # fmt: skip
    end = tl.arange(0, BLOCK_E)
    ended = tl.sum((tl.load(eos + end, mask=end < ends, other=-1) == found).to(tl.int32)) > 0
    went_on = tl.load(alive + row).to(tl.int64)
    since = tl.load(fresh + row)
    tl.store(tokens + row, found)
    tl.store(drawn + row * STEPS + since, found.to(tl.int32), mask=since < STEPS)
    tl.store(made + row, count + went_on)
    tl.store(lengths + row, tl.load(lengths + row) + went_on)
    tl.store(fresh + row, since + went_on)
    goes_on = (went_on != 0) & (count + went_on < tl.load(limits + row)) & (ended == 0)
    tl.store(alive + row, goes_on)


def take(logits: Tensor, slots: Slots) -> None:
    """``choose`` for the first rows of slots [W, V], and what follows from it for their state."""
    rows, vocab = logits.shape
    depths, candidates = torch.empty_like(logits), torch.empty_like(logits, dtype=torch.int32)
    _take_kernel[(rows,)](
        logits, slots.uniform, slots.knobs, depths, candidates, slots.eos, slots.tokens, slots.lengths, slots.made,
        slots.limits, slots.alive, slots.fresh, slots.drawn, vocab, slots.capacity, len(slots.eos),
        STEPS=slots.drawn.shape[1], BLOCK_E=triton.next_power_of_2(max(1, len(slots.eos))), **CHOOSE,
    )  # fmt: skip
