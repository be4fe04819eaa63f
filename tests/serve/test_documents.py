"""Documents as an editor counts in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.serve.documents import CODECS, Document, Documents

PIECES = ["a", "é", "€", "🙂", " ", "\n", "\r\n", "\f", "\u2028", "\x85", "\x0b"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30)
ENCODING = st.sampled_from(sorted(CODECS))


def places(pieces: list[str], encoding: str) -> list[tuple[int, int]]:
    """Where each piece begins, and where the last ends, counted piece by piece."""
    units = {"utf-8": lambda c: len(c.encode()), "utf-16": lambda c: 1 + (c > "\uffff"), "utf-32": lambda c: 1}
    found, line, column = [(0, 0)], 0, 0
    for piece in pieces:
        line, column = (line + 1, 0) if piece in ("\n", "\r\n") else (line, column + units[encoding](piece))
        found.append((line, column))
    return found


@given(TEXT, ENCODING)
def test_places_are_counted_as_the_editor_counts(pieces: list[str], encoding: str) -> None:
    document = Document("".join(pieces), encoding)
    for number, place in enumerate(places(pieces, encoding)):
        offset = len("".join(pieces[:number]))
        assert document.offset(place) == offset and document.place(offset) == place


@given(TEXT, ENCODING, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), TEXT), max_size=6))
def test_edits_make_the_same_text_as_the_editors(pieces: list[str], encoding: str, edits) -> None:
    documents = Documents(encoding=encoding)
    documents.open("file:///a.py", "".join(pieces), "python")
    for start, length, new in edits:
        at = places(pieces, encoding)
        first, last = min(start, len(pieces)), min(start + length, len(pieces))
        documents.edit("file:///a.py", at[first], at[last], "".join(new))
        pieces = [*pieces[:first], *new, *pieces[last:]]
        document = documents.get("file:///a.py")
        assert document and document.text == "".join(pieces)


@pytest.mark.parametrize(
    ("place", "offset"), [((0, 99), 3), ((0, 2), 1), ((1, 0), 4), ((1, 9), 4), ((7, 0), 4), ((0, -1), 0)]
)
def test_places_that_are_not_there(place: tuple[int, int], offset: int) -> None:
    """Beyond a line is its end, beyond the text its end; between the halves of a character is before it."""
    assert Document("a🙂b\n").offset(place) == offset


def test_halves_of_characters_are_replaced() -> None:
    documents = Documents(encoding="utf-16")
    documents.open("file:///a.py", "\ud83d", "python")
    documents.edit("file:///a.py", (0, 1), (0, 1), "\ude42")
    document = documents.get("file:///a.py")
    assert document and document.text == "??"
    documents.rewrite("file:///a.py", "\ud83dx")
    documents.rewrite("file:///b.py", "not open")
    assert [documents.get(f"file:///{n}.py") for n in "ab"] == [Document("?x"), None]


def test_the_others_come_by_their_last_edit() -> None:
    documents = Documents(encoding="utf-8", root="file:///home/a%20b")
    for name in ("a%20b/one.py", "a%20b/pkg/two.py", "a%20bc/three.py"):
        documents.open(f"file:///home/{name}", name, "python")
    documents.open("untitled:Untitled-1", "", "python")
    documents.open("file:///home/four.c", "", "c")
    documents.edit("file:///home/a%20b/one.py", (0, 0), (0, 0), "x")
    assert [name for name, _ in documents.others("untitled:Untitled-1")] == ["one.py", "three.py", "pkg/two.py"]
    assert [name for name, _ in documents.others("file:///home/a%20b/one.py")] == [
        "Untitled-1",
        "three.py",
        "pkg/two.py",
    ]
