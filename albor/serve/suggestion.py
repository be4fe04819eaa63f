"""What of a model's text is worth offering, and how an editor's menu is told to insert it."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_LINES = 20
"""Lines of a suggestion."""
LABEL = 60
"""Characters of a menu's line."""


@dataclass(frozen=True)
class Offer:
    """A suggestion that was made between two texts of a document."""

    uri: str
    before: str
    after: str
    text: str

    def rest(self, uri: str, before: str, after: str) -> str:
        """What is left of it where somebody typed its beginning; "" where something else was done, or all of it."""
        typed = before[len(self.before) :]
        along = typed and before.startswith(self.before) and self.text.startswith(typed)
        rest = self.text[len(typed) :] if along and (uri, after) == (self.uri, self.after) else ""
        return rest if rest.strip() else ""


def fitting(text: str, before: str, after: str, *, most_lines: int = MOST_LINES) -> str:
    """What is worth offering of a completion between two texts; "" when nothing is. Lines end in ``\\n``."""
    text = "\n".join(text.replace("\r\n", "\n").split("\n")[:most_lines])
    text = without_overlap(text, after)
    if not after.partition("\n")[0].strip():  # blanks at the end would be blanks at the end of a line
        text = text.rstrip()
    return "" if not text.strip() or repeats(text, before, after) else text


def without_overlap(text: str, after: str) -> str:
    """Without an end that what follows begins with; but what closes a bracket of the text's own stays."""
    for length in range(min(len(text), len(after)), 0, -1):
        if text.endswith(after[:length]) and unclosed(text[:-length]) <= unclosed(text):
            return text[:-length]
    return text


def unclosed(text: str) -> int:
    """Brackets that are opened and not closed."""
    depth = 0
    for character in text:
        if character in "([{":
            depth += 1
        elif character in ")]}" and depth:
            depth -= 1
    return depth


def repeats(text: str, before: str, after: str) -> bool:
    """Whether the next lines say already what the text's lines, the one at the cursor included, would say."""
    begun = "" if text.startswith("\n") else last_line(before)
    said, follows = ([line.strip() for line in part.split("\n") if line.strip()] for part in (begun + text, after))
    return said == follows[: len(said)]


def last_line(before: str) -> str:
    """The line of the cursor, up to it."""
    return before.rpartition("\n")[2]


def word_before(before: str) -> str:
    """The part of a word that is typed already."""
    return re.split(r"\W", last_line(before))[-1]


def label(text: str) -> str:
    """One line that stands for a suggestion."""
    first, _, rest = text.strip().partition("\n")
    shown = f"{first} …" if rest else first
    return shown if len(shown) <= LABEL else f"{shown[: LABEL - 1]}…"


def as_snippet(text: str, before: str) -> str:
    """The text for a menu that puts the indentation of the cursor's line before each later line, as Neovim's does.

    A line with less indentation than that cannot be told, so the suggestion ends before it.
    """
    line = last_line(before)
    indent = line[: len(line) - len(line.lstrip())]
    first, *rest = text.split("\n")
    told = [first]
    for later in rest:
        if later.strip() and not later.startswith(indent):
            break
        told.append(later.removeprefix(indent) if later.strip() else "")
    return re.sub(r"([\\$}])", r"\\\1", "\n".join(told).rstrip())
