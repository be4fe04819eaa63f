"""Figures of the page on pruning and quantising."""

from __future__ import annotations

import random

import yaml

from albor.config.gguf_layout import gguf_bytes
from albor.config.location import conf_directory
from albor.config.schema.model import Model
from albor.config.schema.prune import Target
from albor.config.sizes import pruned_shape
from docs_site.figures.drawing import Drawing

LEVELS = 16


def structure() -> Drawing:
    """The same share of a matrix gone in three ways."""
    d = Drawing(640, 268, "Half of a matrix gone: anywhere, two of every four, whole channels")
    draw = random.Random(3)
    size, cell = 12, 15
    scores = [[draw.random() for _ in range(size)] for _ in range(size)]

    def anywhere(row: int, column: int) -> bool:
        return sorted(scores[row])[size // 2] <= scores[row][column]

    def of_four(row: int, column: int) -> bool:
        group = scores[row][column // 4 * 4 : column // 4 * 4 + 4]
        return sorted(group)[2] <= scores[row][column]

    channels = {1, 2, 5, 6, 8, 11}
    panels = (
        (20, "unstructured", "orange", anywhere, "as many bytes as before", "unless zeros are packed"),
        (230, "2:4", "violet", of_four, "faster on sparse tensor cores,", "as many bytes in a dense file"),
        (440, "structured", "blue", lambda r, c: c in channels, "a smaller matrix:", "half the bytes, half the work"),
    )
    for x0, title, colour, stays, first, second in panels:
        d.text(x0 + 90, 24, title, f"bold {colour}")
        for row in range(size):
            for column in range(size):
                kept = stays(row, column)
                d.rect(x0 + cell * column, 38 + cell * row, 13, 13, f"box {colour}" if kept else "rule", round_=2)
        d.text(x0 + 90, 240, first, "small")
        d.text(x0 + 90, 258, second, "small")
    return d


def wanda_and_magnitude() -> Drawing:
    """One row of weights and the norms of its inputs: what two scores keep."""
    d = Drawing(640, 252, "A row of six weights: magnitude keeps others than Wanda")
    weights = (0.9, -0.2, 0.5, -0.6, 0.3, 0.1)
    norms = (0.3, 4.0, 1.0, 0.5, 2.5, 1.2)
    x0, width = 190.0, 72.0
    lines = (
        (20, "weight w", weights, None, ""),
        (68, "norm of its input ‖x‖₂", norms, None, ""),
        (132, "|w|: magnitude", tuple(map(abs, weights)), 3, "orange"),
        (180, "|w| · ‖x‖₂: Wanda", tuple(abs(w) * x for w, x in zip(weights, norms, strict=True)), 3, "blue"),
    )
    for y, name, values, kept, colour in lines:
        d.text(x0 - 14, y + 25, name, "small", at="end")
        least = sorted(values)[-kept] if kept else None
        for i, value in enumerate(values):
            stays = least is not None and value >= least
            d.rect(x0 + width * i, y, width - 8, 38, f"box {colour}" if stays else "rule")
            sign = "−" if value < 0 else ""
            d.text(
                x0 + width * i + width / 2 - 4,
                y + 25,
                f"{sign}{abs(value):.2g}",
                "small bold" if stays else "small soft",
            )
    d.text(
        320,
        244,
        "Half stays, filled. A small weight of a loud input does more than a large one of a quiet input.",
        "small soft",
    )
    return d


def block_of_four_bits() -> Drawing:
    """32 weights of a row, the sixteen values that they may take, and the 18 bytes that are stored."""
    d = Drawing(640, 296, "Q4_0: 32 weights share a scale, each is one of sixteen multiples of it")
    draw = random.Random(7)
    weights = [draw.gauss(0, 0.02) for _ in range(32)]
    extreme = max(weights, key=abs)
    scale = extreme / -8
    x0, y0, width, height = 60.0, 30.0, 540.0, 160.0
    reach = 8.6 * abs(scale)

    def up(value: float) -> float:
        return y0 + height / 2 * (1 - value / reach)

    for level in range(LEVELS):
        y = up((level - 8) * scale)
        d.line([(x0, y), (x0 + width, y)], "rule")
        if level in (0, 8, 15):
            d.text(x0 - 8, y + 4, f"{level - 8:+d} d".replace("-", "−").replace("+0", "0"), "small soft", at="end")
    for i, weight in enumerate(weights):
        x = x0 + width * (i + 0.5) / 32
        quant = min(15, max(0, int(weight / scale + 8.5)))
        there = (quant - 8) * scale
        d.line([(x, up(weight)), (x, up(there))], "line orange")
        d.dot(x, up(weight), "soft", 3)
        d.dot(x, up(there), "blue", 4)
    d.text(x0 + width, 20, "grey: the weight; blue: what is stored; orange: the error", "small soft", at="end")
    d.boxed(60, 222, 90, 30, "scale d", "box violet", "small")
    for i in range(16):
        d.rect(154 + 28 * i, 222, 26, 30, "box blue")
        d.line([(167 + 28 * i, 222), (167 + 28 * i, 252)], "rule")
    d.text(105, 274, "float16, 2 bytes", "small soft")
    d.text(378, 274, "32 numbers of 4 bits, 16 bytes", "small soft")
    d.text(320, 292, "18 bytes for 32 weights: 4.5 bits a weight", "small bold")
    return d


def model(name: str) -> Model:
    """A shipped model's shape."""
    own = yaml.safe_load((conf_directory() / f"model/{name}.yaml").read_text(encoding="utf-8"))["model"]
    return Model(**{"vocab_size": 32_768, **own})


def sizes() -> Drawing:
    """Bytes of the 350m model: float32 to 4 bits, and pruned to 100 MB."""
    whole = model("350m")
    target = Target(kind="size")
    small = pruned_shape(whole, target)
    linears = whole.num_parameters - whole.vocab_size * whole.hidden_size
    left = (small.num_parameters - small.vocab_size * small.hidden_size) / linears
    bars = (
        ("float32", 4 * whole.num_parameters, "soft"),
        ("float16", gguf_bytes(whole, "f16"), "soft"),
        ("q8_0", gguf_bytes(whole, "q8_0"), "violet"),
        ("q4_0", gguf_bytes(whole, "q4_0"), "blue"),
        (
            "pruned, q4_0",
            gguf_bytes(small, target.matrices, target.embedding, tokenizer_bytes=target.overhead),
            "green",
        ),
    )
    d = Drawing(640, 262, "The file of 350m: float32, float16, 8 bits, 4 bits, and pruned to fit 100 MB")
    for i, (name, size, colour) in enumerate(bars):
        y = 20 + 40 * i
        d.text(128, y + 20, name, "small mono", at="end")
        d.rect(140, y, 390 * size / bars[0][1], 28, f"box {colour}")
        d.text(150 + 390 * size / bars[0][1], y + 20, f"{size / 1e6:,.0f} MB", f"small bold {colour}", at="start")
    words = f"Pruned: {whole.num_hidden_layers} → {small.num_hidden_layers} blocks, feed-forward "
    words += f"{whole.intermediate_size:,} → {small.intermediate_size:,}; {left:.0%} of what is not embedding is left."
    d.text(320, 244, words, "small soft")
    return d


FIGURES = (structure, wanda_and_magnitude, block_of_four_bits, sizes)
