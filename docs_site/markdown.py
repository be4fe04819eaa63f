"""Plain texts as Markdown; a text that is missing is refused."""

from __future__ import annotations

import re


class MissingText(Exception):
    """Something that a reader would look up has no text in the code."""


def text(value: str, what: str) -> str:
    """The text. Raises MissingText when there is none."""
    if not value.strip():
        raise MissingText(f"{what} has no text that says what it is")
    return value


def anchor(path: str) -> str:
    return path.replace("/", "-").replace("_", "-").replace(".", "-").lower()


def cell(value: str) -> str:
    """Plain text, in which only what stands between backticks is marked, as Markdown for a table's cell."""
    parts = " ".join(value.split()).split("`")
    plain = [re.sub(r"([\\|*\[\]])", r"\\\1", part.replace("<", "&lt;").replace(">", "&gt;")) for part in parts[::2]]
    parts[::2] = plain
    return "`".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
