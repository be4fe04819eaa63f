from __future__ import annotations

import ast
import contextlib
import io
import textwrap

import pytest

from albor.data.documents import Document
from albor.data.functions import PHRASINGS, Candidate, candidates, completed


def document(text: str) -> Document:
    return Document(textwrap.dedent(text).lstrip("\n"), "test", "pkg", "1.0", "pkg/mod.py", "MIT")


def found(*texts: str) -> list[Candidate]:
    return list(candidates(map(document, texts)))


def runs(program: str) -> bool:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(program, "program", "exec"), {"__name__": "program"})
    except AssertionError:
        return False
    return True


HYPOT = '''
    import math
    import os.path as where
    from functools import lru_cache as remember, reduce

    @remember(maxsize=None)
    def hypot(a: float, b: float = 1.0) -> float:
        """The longest side of a right-angled triangle.

        >>> hypot(3, 4)
        5.0
        """

        # Pythagoras
        return math.sqrt(a * a + b * b)
'''


def test_a_function_and_what_it_imports() -> None:
    (made,) = found(HYPOT)
    assert made.answer == (
        "from functools import lru_cache as remember\n"
        "import math\n\n\n"
        "@remember(maxsize=None)\n"
        "def hypot(a: float, b: float=1.0) -> float:\n".replace("=1.0", " = 1.0")
        + "    # Pythagoras\n"
        "    return math.sqrt(a * a + b * b)"
    )
    assert "hypot(a: float, b: float=1.0) -> float" in made.instruction
    assert "The longest side of a right-angled triangle." in made.instruction and ">>> hypot(3, 4)" in made.instruction
    assert (made.doctests, made.package, made.licence, made.path) == (1, "pkg", "MIT", "pkg/mod.py")
    assert [message.role for message in made.conversation] == ["user", "assistant"]
    assert runs(made.program) and not runs(made.program.replace("a * a", "a"))


def test_a_function_begins_with_what_it_is_asked_by() -> None:
    (made,) = found(HYPOT)
    assert made.opening == textwrap.dedent(
        '''
        from functools import lru_cache as remember
        import math


        @remember(maxsize=None)
        def hypot(a: float, b: float = 1.0) -> float:
            """The longest side of a right-angled triangle.

            >>> hypot(3, 4)
            5.0
            """'''
    ).lstrip("\n")


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ("    return 1\n", "    return 1\n"),
        ("    x = 1\n\n    return x\n\n\ndef g():\n    return 2\n", "    x = 1\n\n    return x\n"),
        ("    return 1\n# and so on", "    return 1\n"),
        ("return 1\n", ""),
        ("", ""),
        ("\n\n", ""),
        ("    return 1", "    return 1\n"),
    ],
)
def test_what_is_written_ends_with_its_indentation(written: str, body: str) -> None:
    assert completed("def f():", written) == f"def f():\n{body}"


def test_a_function_written_anew_is_found_again() -> None:
    (made,) = found(HYPOT)
    again = found(completed(made.opening, "    return abs(a + b * 1j)\n\nprint(1)\n"))
    assert [(one.name, one.doctests) for one in again] == [("hypot", 1)] and runs(again[0].program)
    assert found(completed(made.opening, "    pass\n")) == found(completed(made.opening, "    return other(a)\n")) == []


GOOD = '"""Says what it does well enough."""'


@pytest.mark.parametrize(
    "text",
    [
        f"def f(x):\n    {GOOD}\n    return helper(x)",
        f"def helper(x):\n    return x\n\ndef f(x):\n    {GOOD}\n    return helper(x)",
        f"import numpy as np\ndef f(x):\n    {GOOD}\n    return np.abs(x)",
        f"def f(x):\n    {GOOD}\n    import numpy\n    return 2",
        f"def f(x):\n    {GOOD}\n    from . import other\n    return 2",
        f"range = list\ndef f(x):\n    {GOOD}\n    return range(x)",
        f"from numpy import *\ndef f(x):\n    {GOOD}\n    return sum(x)",
        f"try:\n    import json\nexcept ImportError:\n    json = None\ndef f(x):\n    {GOOD}\n    return json.dumps(x)",
        f"import json\njson = None\ndef f(x):\n    {GOOD}\n    return json.dumps(x)",
        f"N = 0\ndef f(x):\n    {GOOD}\n    global N\n    N = x",
        f"def f(x: Other):\n    {GOOD}\n    return x + 1",
        f"def f(x=N):\n    {GOOD}\n    return x + 1",
        f"@wrap\ndef f(x):\n    {GOOD}\n    return x + 1",
        f"def _f(x):\n    {GOOD}\n    return x + 1",
        f"def test_f(x):\n    {GOOD}\n    return x + 1",
        f"class A:\n    def f(x):\n        {GOOD}\n        return x + 1",
        f"async def f(x):\n    {GOOD}\n    return x + 1",
        f"def f(x):\n    {GOOD}",
        f"def f(x):\n    {GOOD}\n    raise NotImplementedError",
        f"def f(x):\n    {GOOD}; return 1",
        f"def f(x): {GOOD}",
        'def f(x):\n    """Too short."""\n    return x',
        "def f(x):\n    return x",
        f"def f(x):\n    {GOOD}\n" + "    x += 1\n" * 61,
        f"def f(x):\n    {GOOD}\n    return '{'a' * 4000}'",
        'def f(x):\n    """Tests that are badly indented.\n\n      >>> f(1)\n    1\n    """\n    return x',
        'def f(x):\n    """Holds half a character: \\ud800."""\n    return x',
        f"def f(x):\n    {GOOD}\n    return x +",
        f"def f(x):\n    {GOOD}\n    return " + "+".join(["x"] * 1500),
        f"from __future__ import nonsense\ndef f(x):\n    {GOOD}\n    return x",
    ],
)
def test_what_is_not_taken(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"def f(x):\n    {GOOD}\n    return [y for y in x if any(z(y) for z in (len, sum))]",
        f"import json\ndef f(x):\n    {GOOD}\n    def inner():\n        return json.loads(x), f(x)\n    return inner()",
        f"def f(x):\n    {GOOD}\n    import json\n    return json.loads(x)",
        f"def f(x):\n    {GOOD}\n    class A:\n        y = len(x)\n    return A",
        f"def f(\n    x,\n    y=2,  # two\n):\n    {GOOD}\n    return x",
        f"def f(x):\r\n    {GOOD}\r\n\r\n    return x + 1\r\n",
        f"def f(x):\n    # First a remark.\n    {GOOD}\n    return '''a\n    b''' + x",
        f"x = 1\n\x0c\ndef f(y):\n    {GOOD}\n    return y + 1",
    ],
)
def test_what_is_taken_is_whole(text: str) -> None:
    (made,) = found(text)
    function = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    del function.body[0]
    assert ast.dump(ast.parse(made.answer).body[-1]) == ast.dump(function)
    assert "Says what it does" not in made.answer and runs(made.program)


def test_functions_that_differ_in_name_and_words_only_are_one() -> None:
    first = f"def f(x):\n    {GOOD}\n    return x + 1"
    second = 'def g(x):\n    """Another way to say the same thing."""\n    return x+1  # here'
    third = f"def f(x):\n    {GOOD}\n    return x + 2"
    assert [made.name for made in found(first, second, third, first)] == ["f", "f"]


def test_the_phrasing_depends_on_the_answer_alone() -> None:
    texts = [f"def f{n}(x):\n    {GOOD}\n    return x + {n}" for n in range(40)]
    forward, backward = found(*texts), found(*reversed(texts))
    assert {made.answer: made.instruction for made in forward} == {made.answer: made.instruction for made in backward}
    heads = {made.instruction.replace(made.name, "f").split("`")[0] for made in forward}
    assert len(heads) == len(PHRASINGS)


def test_braces_in_a_docstring_are_text() -> None:
    (made,) = found('def f(x):\n    """Gives a {dict} of {0} and {signature}."""\n    return {x: {}}')
    assert "{dict} of {0} and {signature}" in made.instruction
