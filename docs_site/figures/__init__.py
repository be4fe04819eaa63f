"""The figures of the theory's pages. `python -m docs_site.figures` draws docs/images/theory again."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path

from docs_site.figures import compression, posttraining, pretraining
from docs_site.figures.drawing import DARK, LIGHT, RULES, Drawing, variables

PLACE = "docs/images/theory"
FIGURES: dict[str, Callable[[], Drawing]] = {
    draw.__name__.replace("_", "-"): draw
    for draw in (*pretraining.FIGURES, *posttraining.FIGURES, *compression.FIGURES)
}
"""File name, without `.svg`, to what draws it."""
IMAGE = re.compile(r'<p>\s*<img alt="([^"]*)" src="[^"]*images/theory/([\w-]+)\.svg"\s*/?>\s*</p>')


def site_style() -> str:
    """The style sheet of figures in pages: the page's own switch says whether paper is dark."""
    rules = "\n".join(f".figure {{ {line} }}" if line.strip() else "" for line in RULES.splitlines())
    light = f".figure {{ {variables(LIGHT)} }}"
    dark = f"[data-md-color-scheme=slate] .figure {{ {variables(DARK)} }}"
    return f"{light}\n{dark}\n{rules}\n"


def inlined(page: str) -> str:
    """A page's HTML with the figures themselves in the places of their images."""
    return IMAGE.sub(lambda found: _inline(FIGURES[found[2]](), unescape(found[1])), page)


def _inline(drawing: Drawing, alternative: str) -> str:
    size = f"0 0 {drawing.width} {drawing.height}"
    return (
        f'<div class="figure"><svg viewBox="{size}" style="max-width: {drawing.width * 1.15:.0f}px" role="img" '
        f'aria-label="{escape(alternative)}">\n{drawing.body()}\n</svg></div>'
    )


def write(root: Path) -> None:
    """Draws every figure into the repository."""
    for name, draw in FIGURES.items():
        (root / PLACE / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
