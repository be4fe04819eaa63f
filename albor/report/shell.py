"""What all pages are made of: one template, one look, one set of manners."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Tile:
    """One headline figure."""

    label: str
    value: str
    detail: str = ""


def document(template: str, *, styles: Sequence[str], scripts: Sequence[str], **values: object) -> str:
    """One HTML document from a template that extends ``base.html.j2``; ``base.css`` and ``base.js`` come first.

    Whatever the values hold is shown as text: markup is escaped, and the page's content security policy admits the
    page's own script by its hash only.
    """
    script = "(() => {\n'use strict';\n" + "".join(map(_read, ("base.js", *scripts))) + "})();\n"
    page = (
        environment()
        .get_template(template)
        .render(
            style=Markup("\n".join(map(_read, ("base.css", *styles)))),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **values,
        )
    )
    return written(page)


def environment() -> Environment:
    """Where the templates lie, and how they treat what they are given: as text."""
    return Environment(
        loader=PackageLoader("albor.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def written(page: str) -> str:
    """What can be written as UTF-8: a lone surrogate (bytes that were no text) cannot."""
    return page.encode("utf-8", "replace").decode("utf-8")


def embed(value: object) -> Markup:
    """JSON that may stand in a ``script`` element: no character of it can open or close markup."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def one_line(entry: str) -> str:
    """On one line, and nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in entry).strip()


def _read(name: str) -> str:
    return resources.files("albor.report").joinpath(name).read_text(encoding="utf-8")
