"""Instructions made from a corpus: a function's docstring asks for it, the function is the answer.

Taken are functions at the top of a file that need nothing but built-in names and the standard library, so that the
answer is whole: its imports, and the function. The docstring is left out of the answer. It is what was asked for:
learnt again there, a good part of the loss would teach copying, and its tests would be told along with the code.
"""

from __future__ import annotations

import ast
import builtins
import copy
import hashlib
import re
import symtable
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from doctest import DocTestParser
from itertools import takewhile

from albor.data.chat import Conversation, Message
from albor.data.documents import Document

LINES = (2, 60)
"""Of a function without its docstring."""
ANSWER = 4_000
"""Characters of an answer at most."""
DOCSTRING = (20, 2_000)
"""Characters of a docstring."""
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
"""A line as Python's parser counts them."""
FUNCTION = re.compile(r"^def [a-zA-Z]", re.MULTILINE)
STAR = re.compile(r"\bimport\s*\(?\s*\*")
"""What may give any name another meaning."""
PHRASINGS = (
    "Write a Python function `{signature}`.\n\n{docstring}",
    "Implement `{signature}` in Python.\n\n{docstring}",
    "I need a Python function with this signature:\n\ndef {signature}:\n\n{docstring}",
    "{docstring}\n\nWrite this as a Python function: `{signature}`.",
)
BUILTINS = frozenset(dir(builtins))
TESTS = """
import doctest as _doctest
_test = _doctest.DocTestParser().get_doctest({docstring}, globals(), {name}, None, 0)
if _doctest.DocTestRunner(verbose=False).run(_test, out=lambda text: None).failed:
    raise AssertionError("a doctest failed")
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function that may become an example, once its program has passed."""

    name: str
    instruction: str
    opening: str
    """The imports that it needs, and the function up to the end of its docstring."""
    answer: str
    """The imports that it needs, and the function without its docstring."""
    tests: str
    """A program that raises when the docstring's tests do not hold of what was defined before; empty without tests."""
    doctests: int
    """Examples in the docstring."""
    package: str
    licence: str
    path: str
    """Of the document: where the function comes from."""

    @property
    def conversation(self) -> Conversation:
        return Message("user", self.instruction), Message("assistant", self.answer)

    @property
    def program(self) -> str:
        """The answer and its tests: it ends without raising if all is well."""
        return self.judging(self.answer)

    def judging(self, answer: str) -> str:
        """``program`` for another answer to the same instruction."""
        return f"{answer}\n{self.tests}"


def candidates(documents: Iterable[Document]) -> Iterator[Candidate]:
    """The functions of ``documents``, in their order; of several that differ in name and docstring only, the first."""
    seen = set[bytes]()
    for document in documents:
        try:
            made = list(_of(document))
        except RecursionError:  # an expression of thousands of terms, which the parser takes
            continue
        for found, digest in made:
            if digest not in seen:
                seen.add(digest)
                yield found


def _of(document: Document) -> Iterator[tuple[Candidate, bytes]]:
    if FUNCTION.search(document.text) is None or STAR.search(document.text) is not None:
        return
    parsed = _parsed(document.text)
    if parsed is None:
        return
    tree, table = parsed
    imported, others = _names(tree, table)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith(("_", "test")):
            continue
        docstring, function = _docstring(node), _without_docstring(document.text, node)
        if docstring is None or function is None:
            continue
        needed = _needed(function, node.name, imported, others)
        if needed is None:
            continue
        imports = "".join(f"{line}\n" for line in [*needed, "", ""]) if needed else ""
        if len(imports + function) <= ANSWER:
            opening = imports + "\n".join(_lines(document.text)[_begin(node) : node.body[0].end_lineno])
            yield _candidate(document, node, docstring, opening, imports + function), _digest(node)


def completed(opening: str, written: str) -> str:
    """The text of a function: its ``opening``, and of what was ``written`` after that the lines up to the first one
    that is not indented."""
    body = takewhile(lambda line: line[0].isspace(), LINE.findall(written))
    return f"{opening}\n{''.join(body)}".rstrip() + "\n"


def _candidate(document: Document, node: ast.FunctionDef, docstring: str, opening: str, answer: str) -> Candidate:
    tests = len(DocTestParser().get_examples(docstring))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    signature = f"{node.name}({ast.unparse(node.args)}){returns}"
    phrasing = PHRASINGS[hashlib.sha256(answer.encode()).digest()[0] % len(PHRASINGS)]
    return Candidate(
        name=node.name,
        instruction=phrasing.format(signature=signature, docstring=docstring),
        opening=opening,
        answer=answer,
        tests=TESTS.format(docstring=repr(docstring), name=repr(node.name)) if tests else "",
        doctests=tests,
        package=document.package,
        licence=document.licence,
        path=document.path,
    )


def _parsed(text: str) -> tuple[ast.Module, symtable.SymbolTable] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the document's own escapes
            return ast.parse(text), symtable.symtable(text, "document", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _docstring(node: ast.FunctionDef) -> str | None:
    """The docstring, cleaned, when it can be asked for and tested."""
    text = ast.get_docstring(node)
    if text is None or not DOCSTRING[0] <= len(text) <= DOCSTRING[1]:
        return None
    try:
        DocTestParser().get_examples(text)
        text.encode()
    except ValueError:  # its tests are indented inconsistently, or it holds half a character
        return None
    return text


def _without_docstring(text: str, node: ast.FunctionDef) -> str | None:
    """The lines of the function less those of its docstring; None when the docstring shares a line with something, is
    all there is, or when what is left is too short or too long."""
    first, rest = node.body[0], node.body[1:]
    if all(isinstance(statement, ast.Pass | ast.Raise) for statement in rest):
        return None
    assert first.end_lineno is not None
    lines, begins = _lines(text), _begin(node)
    head, body = lines[begins : first.lineno - 1], lines[first.end_lineno : node.end_lineno]
    while body and not body[0]:  # what set the docstring off
        del body[0]
    if not head or not LINES[0] <= len(head) + len(body) <= LINES[1]:
        return None
    left = "\n".join(head + body)
    parsed = _parsed(left)
    if parsed is None or len(parsed[0].body) != 1 or ast.dump(parsed[0].body[0]) != ast.dump(_bare(node)):
        return None
    return left


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in LINE.findall(text)]


def _begin(node: ast.FunctionDef) -> int:
    """The number of its first line, from 0: a decorator's if there is one."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1


def _bare(node: ast.FunctionDef) -> ast.FunctionDef:
    bare = copy.copy(node)
    bare.body = node.body[1:]
    return bare


def _names(tree: ast.Module, table: symtable.SymbolTable) -> tuple[dict[str, str], set[str]]:
    """What the top of a file imports from the standard library, name to statement; and every other name it binds."""
    statements = [found for statement in tree.body for found in _imports(statement)]
    times = Counter(name for name, _ in statements)
    assigned = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
    imported = {name: line for name, line in statements if times[name] == 1 and name not in assigned}
    every = assigned | {symbol.get_name() for symbol in table.get_symbols() if symbol.is_imported()}
    return imported, every - imported.keys()


def _imports(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that an import of the standard library binds, each with a statement of its own."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if _is_standard(alias.name):
                yield alias.asname or alias.name.partition(".")[0], ast.unparse(ast.Import([alias]))
    elif isinstance(statement, ast.ImportFrom) and _is_standard(statement.module or "", statement.level):
        for alias in statement.names:
            line = ast.unparse(ast.ImportFrom(statement.module, [alias], 0))
            yield alias.asname or alias.name, line


def _is_standard(module: str, level: int = 0) -> bool:
    return level == 0 and module != "__future__" and module.partition(".")[0] in sys.stdlib_module_names


def _needed(function: str, own: str, imported: dict[str, str], others: set[str]) -> list[str] | None:
    """The imports that ``function`` (its source) needs, sorted; None when it needs anything else."""
    free = _free(function)
    if free is None or not free - {own} - imported.keys() <= BUILTINS - others:
        return None
    return sorted({imported[name] for name in free & imported.keys()})


def _free(function: str) -> set[str] | None:
    """The global names that a function's source reads; None when it sets some, or imports what is not standard."""
    for node in ast.walk(ast.parse(function)):
        foreign = (
            isinstance(node, ast.Global)
            or (isinstance(node, ast.Import) and not all(_is_standard(alias.name) for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and not _is_standard(node.module or "", node.level))
        )
        if foreign:
            return None
    return set(_globals(symtable.symtable(function, "function", "exec")))


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (not symbol.is_assigned() if top else symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _digest(node: ast.FunctionDef) -> bytes:
    """Of what a function does, whatever it is called and however it is laid out and described."""
    bare = _bare(node)
    bare.name = "f"
    return hashlib.sha256(ast.unparse(bare).encode()).digest()
