"""Figures of the page on distillation, instruction and merging."""

from __future__ import annotations

import math

from docs_site.figures.drawing import Drawing

WORDS = ("self", "cls", "x", "i", "0", "if", "or", "…")
LOGITS = (6.0, 4.6, 4.0, 2.6, 2.0, 1.4, 0.6)
REST = 0.2
"""The logit of each of the 60 tokens that are drawn as one bar."""
OTHERS = 60


def softmax(temperature: float) -> list[float]:
    """Of the seven tokens and, as one, of all others."""
    weights = [math.exp(z / temperature) for z in LOGITS] + [OTHERS * math.exp(REST / temperature)]
    return [w / sum(weights) for w in weights]


def temperature() -> Drawing:
    """A teacher's probabilities at two temperatures."""
    d = Drawing(640, 262, "A teacher's probabilities of the next token, at T = 1 and at T = 4")
    for x0, warmth, colour in ((40.0, 1.0, "blue"), (350.0, 4.0, "orange")):
        d.text(x0 + 125, 24, f"T = {warmth:g}", f"bold {colour}")
        d.line([(x0, 200), (x0 + 256, 200)])
        for i, (word, p) in enumerate(zip(WORDS, softmax(warmth), strict=True)):
            x = x0 + 4 + 32 * i
            height = 190 * p
            d.rect(x, 200 - height, 25, height, f"box {colour}", round_=2)
            d.text(x + 12.5, 194 - height, f"{p:.2f}".removeprefix("0"), "small")
            d.text(x + 12.5, 218, word, "mono small soft")
    d.text(320, 250, "… stands for 60 other tokens. Softened, they and the second choices teach, too.", "small soft")
    return d


def stored_teachers() -> Drawing:
    """What is kept of a teacher's distribution: the k likeliest alone, with a tail, or draws."""
    d = Drawing(640, 268, "What may be stored of a teacher: the likeliest tokens alone, with a tail, or draws")
    true = softmax(1.5)
    kept = sum(true[:3])
    counts = (6, 2, 1, 1, 0, 0, 0, 2)
    panels = (
        (
            20.0,
            "top 3, made to add up to 1",
            "orange",
            [p / kept for p in true[:3]] + [0.0] * 5,
            "biased: the rest counts as 0",
        ),
        (232.0, "top 3 and a tail", "blue", [*true[:3], 0, 0, 0, 0, 1 - kept], "a divergence: never below 0"),
        (444.0, "12 draws", "green", [c / 12 for c in counts], "unbiased: right on average"),
    )
    for x0, title, colour, values, verdict in panels:
        d.text(x0 + 88, 24, title, f"small bold {colour}")
        d.line([(x0, 196), (x0 + 176, 196)])
        for i, (p, value) in enumerate(zip(true, values, strict=True)):
            x = x0 + 2 + 22 * i
            d.rect(x, 196 - 250 * p, 18, 250 * p, "rule dashed", round_=1)
            if value:
                d.rect(x + 3, 196 - 250 * value, 12, 250 * value, f"box {colour}", round_=1)
            d.text(x + 9, 214, "…" if i == 7 else str(i + 1), "small soft")
        d.text(x0 + 88, 242, verdict, "small")
    d.text(320, 264, "dashed: the teacher's distribution", "small soft")
    return d


def directions_of_kl() -> Drawing:
    """A teacher with two peaks, and the single peaks that are nearest by KL in its two directions."""
    d = Drawing(640, 270, "Forward KL covers what the teacher finds likely, reverse KL keeps to one part of it")
    x0, width, base, scale = 40, 560, 216, 330

    def normal(x: float, mean: float, sd: float) -> float:
        return math.exp(-(((x - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))

    def teacher(x: float) -> float:
        return 0.6 * normal(x, -2, 0.8) + 0.4 * normal(x, 2, 0.8)

    grid = [-6 + 12 * i / 160 for i in range(161)]
    mean = 0.6 * -2 + 0.4 * 2
    spread = math.sqrt(0.8**2 + 0.6 * (-2 - mean) ** 2 + 0.4 * (2 - mean) ** 2)

    def curve(f: object, colour: str) -> None:
        assert callable(f)
        d.line([(x0 + width * (x + 6) / 12, base - scale * f(x)) for x in grid], f"line {colour}")

    d.line([(x0, base), (x0 + width, base)])
    curve(teacher, "soft")
    curve(lambda x: normal(x, mean, spread), "blue")
    curve(lambda x: normal(x, -2, 0.83), "orange")
    d.text(x0 + width * (2 + 6) / 12 + 34, base - scale * teacher(2) - 4, "teacher p", "small soft", at="start")
    d.text(
        x0 + width * (mean + 6) / 12 + 24,
        base - scale * normal(mean, mean, spread) - 10,
        "least KL(p ‖ q)",
        "small blue",
        at="start",
    )
    d.text(
        x0 + width * (-2 + 6) / 12 - 40,
        base - scale * normal(-2, -2, 0.83) + 12,
        "least KL(q ‖ p)",
        "small orange",
        at="end",
    )
    d.text(
        320,
        256,
        "A student with room for one peak only. Forward KL spreads over both, reverse KL takes the larger.",
        "small soft",
    )
    return d


def low_rank() -> Drawing:
    """A weight and its adapter, to scale at rank 16 of 192 (wider, so that it is seen)."""
    d = Drawing(640, 256, "LoRA: a frozen matrix and a product of two thin ones")
    d.rect(60, 50, 150, 150, "pane")
    d.text(135, 122, "W", "bold")
    d.text(135, 144, "frozen", "small soft")
    d.text(135, 38, "in", "small soft")
    d.text(48, 130, "out", "small soft", at="end")
    d.text(262, 132, "+  α/r  ·", "bold")
    d.rect(316, 50, 22, 150, "box orange")
    d.text(327, 38, "r", "small soft")
    d.text(327, 222, "B: zeros at first", "small orange")
    d.text(360, 132, "·", "bold")
    d.rect(382, 114, 150, 22, "box blue")
    d.text(457, 104, "in", "small soft")
    d.text(544, 130, "r", "small soft", at="start")
    d.text(457, 158, "A: random", "small blue")
    d.text(
        320, 248, "350m, r = 16 on six matrices of each block: 8.0M of 398.5M numbers are trained, 2.0%.", "small soft"
    )
    return d


def arc() -> Drawing:
    """SLERP at t = 0.6 on the circle, and the straight mean below it."""
    d = Drawing(640, 300, "SLERP goes along the arc between two models, linear interpolation along the chord")
    cx, cy, radius = 250.0, 268.0, 218.0
    start, end, t = math.radians(20), math.radians(110), 0.6

    def at(angle: float, r: float = radius) -> tuple[float, float]:
        return cx + r * math.cos(angle), cy - r * math.sin(angle)

    d.line([at(math.radians(a)) for a in range(0, 141, 2)], "rule")
    (ax, ay), (bx, by) = at(start), at(end)
    d.line([at(start + (end - start) * i / 60) for i in range(61)], "line blue")
    d.line([(ax, ay), (bx, by)], "line orange dashed")
    d.arrow(cx, cy, ax, ay)
    d.arrow(cx, cy, bx, by)
    px, py = at(start + t * (end - start))
    lx, ly = ax + t * (bx - ax), ay + t * (by - ay)
    d.arrow(cx, cy, px, py, "blue")
    d.dot(px, py, "blue", 6)
    d.dot(lx, ly, "orange", 6)
    d.text(ax + 12, ay + 6, "a  (t = 0)", "bold", at="start")
    d.text(bx - 10, by - 10, "b  (t = 1)", "bold", at="end")
    d.text(px + 10, py - 12, "slerp, t = 0.6: as long as a and b", "small blue", at="start")
    short = math.hypot(lx - cx, cy - ly) / radius
    d.text(lx + 22, ly + 56, f"linear: {short:.0%} as long", "small orange", at="start")
    d.line([at(start + (end - start) * i / 30, 46) for i in range(31)], "rule")
    d.text(cx + 44, cy - 40, "θ", "soft")
    return d


def elections() -> Drawing:
    """Two differences from the base: kept by TIES, and a random part of one by DARE."""
    d = Drawing(640, 330, "TIES trims and elects a sign, DARE drops at random and scales up")
    first = (0.9, -0.2, 0.5, -0.7, 0.1, 0.6)
    second = (0.6, -0.3, -0.8, -0.5, 0.7, -0.1)

    def bars(x0: float, y: float, values: tuple[float, ...], colour: str, kept: tuple[bool, ...] | None = None) -> None:
        d.line([(x0, y), (x0 + 180, y)])
        for i, value in enumerate(values):
            stays = kept is None or kept[i]
            height = 32 * abs(value)
            top = y - height if value > 0 else y
            d.rect(x0 + 6 + 29 * i, top, 20, height, f"box {colour}" if stays else "rule dashed", round_=1)

    d.text(110, 24, "what two models learned", "small bold")
    bars(20, 100, first, "blue")
    bars(20, 190, second, "orange")
    d.text(320, 24, "TIES: trimmed to 4 of 6", "small bold")

    def largest(values: tuple[float, ...]) -> tuple[bool, ...]:
        least = sorted(map(abs, values))[2]
        return tuple(abs(v) >= least for v in values)

    bars(230, 100, first, "blue", largest(first))
    bars(230, 190, second, "orange", largest(second))
    trimmed = [[v if k else 0.0 for v, k in zip(vs, largest(vs), strict=True)] for vs in (first, second)]
    merged = []
    for a, b in zip(*trimmed, strict=True):
        sign = 1 if a + b >= 0 else -1
        agreeing = [v for v in (a, b) if v * sign > 0]
        merged.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    d.arrow(320, 218, 320, 240)
    bars(230, 280, tuple(merged), "green")
    d.text(420, 284, "signs elected,", "small", at="start")
    d.text(420, 302, "means of who agrees", "small", at="start")
    d.text(530, 24, "DARE: half dropped, rest × 2", "small bold")
    chance = (True, False, True, False, False, True)
    bars(440, 100, tuple(2 * v if k else v for v, k in zip(first, chance, strict=True)), "blue", chance)
    bars(
        440,
        190,
        tuple(2 * v if not k else v for v, k in zip(second, chance, strict=True)),
        "orange",
        tuple(not k for k in chance),
    )
    return d


FIGURES = (temperature, stored_teachers, directions_of_kl, low_rank, arc, elections)
