"""The context window: its budget, its edges, and that typing does not move its beginning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from albor.serve.window import JUMPS, first_lines, last_lines, window

TEXT = st.lists(st.sampled_from(["\n", "a", "bc ", "    ", "é🙂", "x" * 30]), max_size=200).map("".join)
FILES = st.dictionaries(st.text("abc/.py", max_size=8), TEXT, max_size=4)
BUDGET = st.integers(0, 400)


@given(TEXT, TEXT, FILES, BUDGET)
def test_the_budget_is_kept_and_the_edges_are_at_the_cursor(before: str, after: str, files, budget: int) -> None:
    made = window(before, after, files.items(), budget=budget)
    assert before.endswith(made.prefix) and after.startswith(made.suffix)
    assert all(files[name].startswith(shown) for name, shown in made.extra)
    assert [name for name in files if name in dict(made.extra)] == [name for name, _ in made.extra]
    assert len(made.prefix) + len(made.suffix) + sum(len(n) + len(t) for n, t in made.extra) <= budget


@given(TEXT, st.integers(1, 200))
def test_much_of_the_budget_is_used(text: str, most: int) -> None:
    assert len(last_lines(text, most)) >= min(len(text), most - 2 * max(most // JUMPS, 1))
    assert first_lines(text, most) or not text


@given(st.lists(st.text("ab ", max_size=9), max_size=80), st.integers(48, 200))
def test_lines_are_whole(lines: list[str], most: int) -> None:
    """Where none is longer than a jump."""
    text = "".join(f"{line}\n" for line in lines)
    prefix, suffix = last_lines(text, most), first_lines(text, most)
    assert text == prefix or text[: len(text) - len(prefix)].endswith("\n")
    assert text == suffix or suffix.endswith("\n")


@given(TEXT, TEXT, st.text("ab \n", min_size=1, max_size=120), st.integers(8, 200))
def test_typing_keeps_the_beginning(before: str, after: str, typed: str, budget: int) -> None:
    """Of the prompts that a row of keys makes, nearly all begin as the one before; the suffix stays as it is."""
    made = [window(before + typed[:n], after, [], budget=budget) for n in range(len(typed) + 1)]
    starts = [len(before) + n - len(m.prefix) for n, m in enumerate(made)]
    jump = max(budget // 2 // JUMPS, 1)
    assert starts == sorted(starts)
    assert len(set(starts)) <= 2 + len(typed) // jump
    assert len({m.suffix for m in made}) == 1


def test_an_example() -> None:
    before, after = "".join(f"line {n:02}\n" for n in range(50)) + "her", "e\n" + "rest\n" * 50
    made = window(before, after, [("a.py", "a = 1\n"), ("b.py", "b = 1\n" * 9), ("c.py", "c")], budget=160)
    assert made.prefix.startswith("line ") and made.prefix.endswith("line 49\nher") and len(made.prefix) > 50
    assert made.suffix == "e\n" + "rest\n" * 7
    assert made.extra == (("a.py", "a = 1\n"), ("b.py", "b = 1\n" * 4))


def test_a_line_that_is_longer_than_the_budget() -> None:
    assert last_lines("x" * 100 + "\n" + "y" * 100, 40) == "y" * 31
    assert first_lines("y" * 100 + "\n", 40) == "y" * 40
