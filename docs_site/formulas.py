"""Formulas as MathML, which browsers draw themselves: no script, nothing from another server."""

from __future__ import annotations

import html
import re

SPAN = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


class FormulaError(ValueError):
    """A formula that is not LaTeX."""


def rendered(page: str) -> str:
    """A page's HTML with every formula that Arithmatex found as MathML. Raises FormulaError."""
    return SPAN.sub(lambda found: mathml(html.unescape(found[3]), block=found[2] == "["), page)


def mathml(latex: str, *, block: bool = False) -> str:
    from latex2mathml.converter import convert

    try:
        made = str(convert(latex.strip(), display="block" if block else "inline"))
    except Exception as error:
        raise FormulaError(f"{latex!r} cannot be read as a formula: {type(error).__name__} {error}") from error
    if "\\" in made:
        raise FormulaError(f"{latex!r} has a command that is not known")
    return f'<div class="formula">{made}</div>' if block else made
