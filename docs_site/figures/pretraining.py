"""Figures of the page on pretraining."""

from __future__ import annotations

import math

from albor.config.schedule import lr_factor
from docs_site.figures.drawing import Drawing


def rows_of_tokens() -> Drawing:
    """Documents, their tokens, and the rows that these fill."""
    d = Drawing(640, 262, "Documents become tokens, tokens fill rows")
    documents = [("a.py", 150, "blue"), ("b.py", 96, "orange"), ("c.py", 60, "green"), ("d.py", 110, "violet")]
    y = 44.0
    d.text(80, 24, "documents", "small soft")
    for name, _, colour in documents:
        d.boxed(40, y, 80, 34, name, f"box {colour}", f"mono small {colour}")
        y += 50
    d.arrow(134, 128, 184, 128)
    d.text(159, 116, "BPE", "small soft")
    d.text(280, 24, "tokens", "small soft")
    y = 52
    for _, length, colour in documents:
        for i in range(length // 10):
            d.rect(196 + 11 * i, y, 10, 18, f"box {colour}", round_=2)
        d.rect(196 + 11 * (length // 10), y, 10, 18, "full ink", round_=2)
        y += 50
    d.arrow(386, 128, 436, 128)
    d.text(411, 116, "best fit", "small soft")
    d.text(540, 24, "rows of seq_len tokens", "small soft")
    for row, parts in enumerate(([("blue", 15)], [("violet", 11), ("green", 6)], [("orange", 9)])):
        x, y = 448.0, 62.0 + 52 * row
        d.rect(x - 3, y - 4, 9 * 19 + 5, 26, "rule")
        for colour, count in parts:
            for _ in range(count):
                d.rect(x, y, 8, 18, f"box {colour}", round_=2)
                x += 9
            d.rect(x, y, 8, 18, "full ink", round_=2)
            x += 9
    d.rect(448, 222, 9, 14, "full ink", round_=2)
    d.text(464, 234, "end of text", "small soft", at="start")
    return d


def fill_in_the_middle() -> Drawing:
    """A piece of text, and the two orders in which a model reads it."""
    d = Drawing(640, 236, "Fill-in-the-middle: the two orders of prefix, suffix and middle")
    parts = {
        "prefix": (170, "blue", "def area(r):"),
        "middle": (150, "orange", "return 3.14 *"),
        "suffix": (110, "green", "r ** 2"),
    }
    x = 100.0
    d.text(88, 43, "text", "small soft", at="end")
    for width, colour, words in parts.values():
        d.boxed(x, 22, width, 32, words, f"box {colour}", "mono small")
        x += width + 4
    for y, name, order in ((102, "PSM", ("prefix", "suffix", "middle")), (172, "SPM", ("suffix", "prefix", "middle"))):
        d.text(44, y + 21, name, "small bold", at="end")
        x = 56.0
        signs = ["P", "S", "M"] if name == "PSM" else ["PS", "M", ""]
        for sign, part in zip(signs, order, strict=True):
            if sign:
                for letter in sign:
                    d.boxed(x, y, 22, 32, letter, "pane", "small bold")
                    x += 25
            width, colour, words = parts[part]
            d.boxed(x, y, width, 32, words, f"box {colour}", "mono small")
            x += width + 4
        d.boxed(x, y, 22, 32, "E", "pane", "small bold")
    d.text(
        320,
        226,
        "P, S, M: the tokenizer's sentinels; E: end of text. The loss is that of any text: of every next token.",
        "small soft",
    )
    return d


def schedule_and_data() -> Drawing:
    """The learning rate that a run meant to have, and where its data ended."""
    d = Drawing(640, 300, "A learning rate schedule of 5,000 steps, and data for 43 of them")
    x, y, width, height = 60, 40, 540, 200
    d.axes(x, y, width, height, "step", "learning rate ÷ peak")
    total = 5000

    def at(step: float, factor: float) -> tuple[float, float]:
        return x + width * step / total, y + height * (1 - factor)

    def factor(step: int, warmup: int) -> float:
        return lr_factor(
            step, schedule="cosine", warmup_steps=warmup, total_steps=total, min_lr_ratio=0.1, decay_fraction=0.2
        )

    for warmup, colour, name, place in ((2000, "orange", "warmup 2,000", 2260), (250, "blue", "warmup 250", 1150)):
        points = [at(step, factor(step, warmup)) for step in [1, *range(50, warmup, 50), *range(warmup, total + 1, 50)]]
        d.line(points, f"line {colour}")
        px, py = at(place, factor(place, warmup))
        d.text(px + 2, py - 10, name, f"small {colour}", at="start")
    ex, _ = at(43, 0)
    d.line([(ex, y), (ex, y + height)], "line violet dashed")
    d.arrow(x + 78, y + height - 34, ex + 4, y + height - 34, "violet")
    d.text(x + 84, y + height - 38, "step 43, at 2% of the peak:", "small violet", at="start")
    d.text(x + 84, y + height - 20, "one epoch of 22,079 rows is used up", "small violet", at="start")
    for step in (0, 1000, 2000, 3000, 4000, 5000):
        d.text(at(step, 0)[0], y + height + 18, f"{step:,}", "small soft")
    for value in (0.1, 1.0):
        d.text(x - 8, at(0, value)[1] + 5, f"{value:g}", "small soft", at="end")
    return d


def compute_optimum() -> Drawing:
    """Loss against model size at three budgets of compute, by the law of Hoffmann et al."""
    d = Drawing(640, 340, "For each budget of compute one model size gives the least loss")
    x, y, width, height = 60, 40, 540, 240
    d.axes(x, y, width, height, "", "loss, nats a token")
    d.text(x + width, y + height + 40, "parameters", "small soft", at="end")
    least, most, low, high = 1e7, 2e9, 2.4, 4.4

    def loss(parameters: float, tokens: float) -> float:
        return 1.69 + 406.4 / math.pow(parameters, 0.34) + 410.7 / math.pow(tokens, 0.28)

    def at(parameters: float, value: float) -> tuple[float, float]:
        share = math.log(parameters / least) / math.log(most / least)
        return x + width * share, y + height * (high - value) / (high - low)

    optima = []
    for flops, colour in ((1e18, "blue"), (1e19, "orange"), (1e20, "green")):
        sizes = [least * (most / least) ** (i / 240) for i in range(241)]
        curve = [(size, loss(size, flops / (6 * size))) for size in sizes]
        d.line([at(*point) for point in curve if point[1] <= high], f"line {colour}")
        best = min(curve, key=lambda point: point[1])
        optima.append(best)
        px, py = at(*best)
        d.dot(px, py, colour)
        exponent = "⁰¹²³⁴⁵⁶⁷⁸⁹"
        power = "".join(exponent[int(c)] for c in str(round(math.log10(flops))))
        tokens = flops / (6 * best[0])
        d.text(px, py + 22, f"10{power} FLOPs: {best[0] / 1e6:.0f}M, {tokens / 1e9:.2g}B tokens", f"small {colour}")
    d.line([at(*point) for point in optima], "rule dashed")
    for size, name in ((1e7, "10M"), (1e8, "100M"), (1e9, "1B")):
        px, _ = at(size, low)
        d.line([(px, y + height), (px, y + height + 5)])
        d.text(px, y + height + 20, name, "small soft")
    for value in (3.0, 3.5, 4.0):
        d.text(x - 8, at(least, value)[1] + 5, f"{value:g}", "small soft", at="end")
    return d


def perplexities() -> Drawing:
    """What perplexities of a vocabulary of 32,768 mean, on a logarithmic scale."""
    d = Drawing(640, 196, "What a perplexity means, at a vocabulary of 32,768")
    x0, x1, y = 50.0, 590.0, 84.0
    top, bottom = math.log(32768), math.log(8)
    d.arrow(x0, y, x1 + 20, y)
    marks = (
        (32768, "untrained:", "all tokens alike", "soft"),
        (1000, "how often", "tokens occur", "violet"),
        (100, "syntax", "and idioms", "orange"),
        (30, "a good", "350M model", "blue"),
        (10, "excellent", "at this size", "green"),
    )
    for value, first, second, colour in marks:
        x = x0 + (x1 - x0) * (top - math.log(value)) / (top - bottom)
        d.dot(x, y, colour, 6)
        d.text(x, y - 18, f"{value:,}", f"bold {colour}")
        lower = 44 if value == 30 else 0
        if lower:
            d.line([(x, y + 10), (x, y + lower + 14)])
        d.text(x, y + 28 + lower, first, "small")
        d.text(x, y + 46 + lower, second, "small")
        d.text(x, y - 40, f"{math.log(value):.2f} nats", "small soft")
    return d


def bits_per_byte() -> Drawing:
    """One text in the tokens of two vocabularies: the loss a token differs, the bits a byte need not."""
    d = Drawing(640, 226, "The same text in the tokens of two vocabularies")
    text = "return self.items[key]"
    small = ["ret", "urn", " se", "lf", ".", "it", "ems", "[", "key", "]"]
    large = ["return", " self", ".", "items", "[", "key", "]"]
    cell, x0 = 17.0, 60.0
    for i, letter in enumerate(text):
        d.text(x0 + cell * (i + 0.5), 36, letter if letter != " " else "␣", "mono small")
    d.text(x0 + cell * len(text) + 16, 36, f"{len(text)} bytes", "small soft", at="start")
    nats = 16.5
    for y, tokens, colour in ((56.0, small, "orange"), (132.0, large, "blue")):
        x = x0
        for token in tokens:
            d.rect(x + 1, y, cell * len(token) - 2, 24, f"box {colour}")
            x += cell * len(token)
        d.text(x0 + cell * len(text) + 16, y + 17, f"{len(tokens)} tokens", f"small {colour}", at="start")
        each = nats / len(tokens)
        words = f"{nats} nats ÷ {len(tokens)} tokens = {each:.2f} a token: perplexity {math.exp(each):.1f}"
        d.text(x0, y + 48, words, f"small {colour}", at="start")
    bits = nats / math.log(2) / len(text)
    d.text(x0, 214, f"both: {nats} nats ÷ ln 2 ÷ {len(text)} bytes = {bits:.2f} bits a byte", "bold", at="start")
    return d


FIGURES = (rows_of_tokens, fill_in_the_middle, schedule_and_data, compute_optimum, perplexities, bits_per_byte)
