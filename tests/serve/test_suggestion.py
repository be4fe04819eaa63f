"""What of a model's text is worth offering."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.serve.suggestion import as_snippet, fitting, label, word_before

CODE = st.text("ab()[] \n:", max_size=25)


@pytest.mark.parametrize(
    ("before", "text", "after", "offered"),
    [
        ("x = ", "1", "\n", "1"),
        ("x = ", "1\n", "\n", "1"),
        ("x = ", "1 + ", "y\n", "1 + "),
        ("x = ", " \n  \n", "\n", ""),
        ("x = ", "", "", ""),
        ("f(", "a, b)", ")\n", "a, b"),
        ("f(", "g(a)", ")\n", "g(a)"),
        ("f(", "g(a))", ")\n", "g(a)"),
        ('f("', 'a")', '")\n', "a"),
        ("f(", ")", ")\n", ""),
        ("f(", ")", "\n)\n", ")"),
        ("def f():", "\n    return 1", "\n    return 1\n", ""),
        ("def f():", "\n  return 1\n", "\n\n    return 1\n", ""),
        ("    pa", "ss", "\n    pass\n", ""),
        ("", "one\ntwo\n", "\n\none\n  two\nthree\n", ""),
        ("", "one\nfour\n", "\n\none\n  two\nthree\n", "one\nfour"),
        ("x = ", "[\r\n1]\r\n", "", "[\n1]"),
    ],
)
def test_what_is_offered(before: str, text: str, after: str, offered: str) -> None:
    assert fitting(text, before, after) == offered


def test_lines_are_bounded() -> None:
    assert fitting("a\nb\nc\nd", "", "", most_lines=2) == "a\nb"
    assert fitting("\nb", "", "", most_lines=1) == ""


@given(CODE, CODE, CODE)
def test_what_is_offered_is_the_beginning_of_the_text(before: str, text: str, after: str) -> None:
    offered = fitting(text, before, after)
    assert text.startswith(offered)
    assert offered == "" or offered.strip()


def test_words_and_labels() -> None:
    assert [word_before(text) for text in ("", "a.bc", "a b ", "x\nünder_1", "(")] == ["", "bc", "", "ünder_1", ""]
    assert [label(text) for text in ("a", "\n    a\n", "a\nb", "x" * 99)] == ["a", "a", "a …", "x" * 59 + "…"]


def test_a_snippet_has_the_lines_that_its_editor_can_indent() -> None:
    assert as_snippet("a {\n        b\n    }\nc", "    a") == "a {\n    b\n\\}"
    assert as_snippet("a\n\n    b\n", "    a") == "a\n\nb"
    assert as_snippet("\nb", "    a") == ""
    assert as_snippet("a\n\tb", "\ta") == "a\nb"
    assert as_snippet("\\ $x ${y}", "") == "\\\\ \\$x \\${y\\}"
