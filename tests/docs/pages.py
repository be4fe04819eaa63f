"""What pages say: their commands with what is said of them, files that they show, and code within sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
)
SHELLS = ("sh", "bash", "console")
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
ENDS = ("&&", "||", "|", ";", "&")


@dataclass(frozen=True)
class Block:
    """A block of code."""

    language: str
    title: str | None
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a page, as a shell splits it, and the block that it stands in."""

    words: tuple[str, ...]
    block: Block

    @property
    def albor(self) -> tuple[str, ...] | None:
        """What follows `albor`; None for other programs."""
        for head in (("albor",), ("python", "-m", "albor"), (".venv/bin/albor",), ("exec", "python", "-m", "albor")):
            if self.words[: len(head)] == head:
                return self.words[len(head) :]
        return None

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks(page: str) -> Iterator[Block]:
    """The blocks of code of a page."""
    for found in FENCE.finditer((ROOT / page).read_text(encoding="utf-8")):
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
        yield Block(found["language"], found["title"], body)


def commands(page: str) -> Iterator[Command]:
    """The commands in the shell blocks of a page. Raises ValueError where a shell would wait for a quote to end."""
    for block in blocks(page):
        if block.language in SHELLS:
            text = block.text
            if block.language == "console":
                text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
            for line in text.replace("\\\n", " ").splitlines():
                yield from (Command(words, block) for words in split(line))


def split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a line, without its comment."""
    words: list[str] = []
    line = re.sub(r" >>? \S+", "", line)  # where the output goes
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in ENDS:
            if words:
                yield tuple(words)
            words = []
        elif word.endswith(";"):
            yield (*words, word[:-1])
            words = []
        else:
            words.append(word)


def inline(page: str) -> Iterator[str]:
    """The code within a page's sentences."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for found in INLINE.finditer(text):
        yield " ".join(found[1].split())
