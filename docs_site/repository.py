"""Files of the repository that pages link to: each is a page of the site, too, so that no link leaves it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages that lie beside ``docs/``."""
HOME = {"README.md": "docs/index.md"}
"""Files that the site has a page of its own for."""
SOURCE = "source"
"""Where the others are shown."""
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LANGUAGES = {".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".sh": "sh", ".lua": "lua", ".py": "python"}


def source_of(page: str) -> str:
    """The file of the repository that a page is made of."""
    if page.startswith(f"{SOURCE}/"):
        return page.removeprefix(f"{SOURCE}/")
    return page if page in PAGES else f"docs/{page}"


def page_of(path: str) -> str:
    """The page of a file of the repository."""
    path = HOME.get(path, path)
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PAGES:
        return path
    return f"{SOURCE}/{path}" if path.endswith(".md") else f"{SOURCE}/{path}.md"


def target(root: Path, source: str, link: str) -> str | None:
    """The file that a link of a file leads to, where it is one of the repository; a directory is its README."""
    if re.match(r"[a-z]+:", link):
        return None
    path = os.path.normpath(PurePosixPath(source).parent / link)
    if (root / path / "README.md").is_file():
        path = f"{path}/README.md"
    return path if (root / path).is_file() else None


def links(root: Path, source: str, text: str) -> Iterator[str]:
    """The files of the repository that a text links to."""
    for found in LINK.finditer(CODE.sub("", text)):
        if path := target(root, source, found[2]):
            yield path


def linked(root: Path, pages: Iterable[tuple[str, str]]) -> set[str]:
    """What (file, text) pairs link to that has no page yet, and what these link to in turn."""
    found: set[str] = set()
    waiting = list(pages)
    while waiting:
        for path in links(root, *waiting.pop()):
            if page_of(path).startswith(f"{SOURCE}/") and path not in found:
                found.add(path)
                waiting.append((path, (root / path).read_text(encoding="utf-8")))
    return found


def shown(root: Path, path: str) -> str:
    """A page that shows a file as it is; one of Markdown is a page itself."""
    text = (root / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"# {path}\n\n```{language}\n{text.rstrip()}\n```\n"


def relinked(root: Path, page: str, text: str) -> str:
    """A page's text with its links to files of the repository as links to their pages."""
    source = source_of(page)

    def moved(found: re.Match[str]) -> str:
        path = target(root, source, found[2])
        if path is None or (source.startswith("docs/") and path.startswith("docs/")):
            return found[0]
        return found[1] + os.path.relpath(page_of(path), PurePosixPath(page).parent) + found[3]

    parts, last = [], 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(moved, text[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*parts, LINK.sub(moved, text[last:])])


def lists_in_paragraphs(text: str) -> Iterator[str]:
    """First lines of lists that GitHub would find in a paragraph, and Python-Markdown does not."""
    before = ""
    for line in CODE.sub("", text).splitlines():
        if re.match(r"([-*] |1\. )\S", line) and before.strip() and not re.match(r"\s|[-*] |\d+\. |#", before):
            yield line
        before = line
