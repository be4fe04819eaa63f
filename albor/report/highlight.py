"""A small Python highlighter: one regular expression, every character escaped, any text accepted."""

from __future__ import annotations

import builtins
import keyword
import re

from markupsafe import Markup, escape

TOKEN = re.compile(
    r"""
    (?P<special><\|[a-z_0-9]{1,32}\|>)
  | (?P<comment>\#[^\n]*)
  | (?P<string>(?i:\b(?:[rbuf]|br|rb|fr|rf))?
      (?:\"\"\"(?:[^\"\\]|\\.|\"(?!\"\"))*+(?:\"\"\"|\Z)
        |'''(?:[^'\\]|\\.|'(?!''))*+(?:'''|\Z)
        |\"(?:[^\"\\\n]|\\.)*+\"?
        |'(?:[^'\\\n]|\\.)*+'?))
  | (?P<decorator>(?m:^)[ \t]*@[\w.]+)
  | (?P<number>\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?j?))
  | (?P<word>[^\W\d]\w*)
  """,
    re.VERBOSE | re.DOTALL,
)
BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_") and not keyword.iskeyword(name))


def highlight(prompt: str, completion: str) -> tuple[Markup, Markup]:
    """(prompt, completion) as HTML. They are read as one text: a string may begin in one and end in the other."""
    text, border = prompt + completion, len(prompt)
    sides: tuple[list[Markup], list[Markup]] = ([], [])
    for start, end, kind in _spans(text):
        for side, (a, b) in zip(sides, ((start, min(end, border)), (max(start, border), end)), strict=True):
            if a < b:
                piece = escape(text[a:b])
                side.append(Markup('<span class="{}">{}</span>').format(f"py-{kind}", piece) if kind else piece)
    return Markup("").join(sides[0]), Markup("").join(sides[1])


def _spans(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) covering the text without a gap; kind is empty for plain text."""
    spans: list[tuple[int, int, str]] = []
    position, before = 0, ""
    for match in TOKEN.finditer(text):
        kind, word = match.lastgroup or "", match.group()
        if kind == "word":
            kind = _word(word, before)
            before = word
        if match.start() > position:
            spans.append((position, match.start(), ""))
        spans.append((match.start(), match.end(), kind))
        position = match.end()
    return [*spans, (position, len(text), "")]


def _word(word: str, before: str) -> str:
    if before in ("def", "class"):
        return "name"
    if word in ("self", "cls"):
        return "self"
    return "keyword" if keyword.iskeyword(word) else "builtin" if word in BUILTINS else ""
