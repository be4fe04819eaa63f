"""What a model is shown around the cursor: within a budget of characters, and the same from key to key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

JUMPS = 4
"""The beginning of the prefix moves by one so-manieth of its budget."""

Extra = tuple[str, str]
"""Another file: its name and its text, or the beginning of that."""


@dataclass(frozen=True)
class Window:
    """What the model reads. Text before the cursor, text after it, and other files."""

    prefix: str
    suffix: str
    extra: tuple[Extra, ...]


def window(before: str, after: str, others: Iterable[Extra], *, budget: int) -> Window:
    """Of all that lies before and after the cursor, what lies next to it; of other files, the first that fit.

    Lines end in ``\\n``. ``budget`` is characters in all: half of them for the prefix, a quarter each for the suffix
    and for the other files. The shares are fixed: one that grew while another is not used would move with every key.
    """
    return Window(
        prefix=last_lines(before, budget // 2),
        suffix=first_lines(after, budget // 4),
        extra=tuple(beginnings(others, budget // 4)),
    )


def last_lines(text: str, most: int) -> str:
    """The end of a text from the start of a line on: ``most`` characters or fewer, about half of that at the least.

    Where it starts moves in jumps, not with every character that is added: a server keeps what it has read of a
    prompt, and reads on from there only while the prompt begins as it did. Within a line longer than a jump it
    starts anywhere.
    """
    if len(text) <= most:
        return text
    jump = max(most // JUMPS, 1)
    start = -(-(len(text) - most) // jump) * jump
    line = text.find("\n", start - 1, start - 1 + jump) + 1
    return text[line or start :]


def first_lines(text: str, most: int) -> str:
    """The beginning of a text in whole lines, ``most`` characters or fewer; of a longer line, its beginning."""
    if len(text) <= most:
        return text
    return text[: text.rfind("\n", 0, most) + 1 or most]


def beginnings(files: Iterable[Extra], most: int) -> Iterator[Extra]:
    """The first files, names and texts in ``most`` characters together; the last of them may be cut."""
    for name, text in files:
        shown = first_lines(text, max(most - len(name), 0))
        if shown.strip():
            most -= len(name) + len(shown)
            yield name, shown
