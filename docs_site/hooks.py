"""What MkDocs asks while it builds the site: pages made of the code, files of the repository that pages link to,
formulas and figures. mkdocs.yml names this file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs_site import figures, formulas, keys, reference, repository

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
KEYS = "reference/keys"
"""The entry of mkdocs.yml's navigation that stands for a page of each section of the config."""

log = logging.getLogger("mkdocs.docs_site")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    assert config.nav is not None
    config.nav = [_with_keys(entry) for entry in config.nav]
    return config


def _with_keys(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _with_keys(of) for title, of in entry.items()}
    if isinstance(entry, list):
        return [_with_keys(of) for of in entry]
    return list(keys.key_pages()) if entry == KEYS else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File, InclusionLevel

    def add(place: str, text: str, *, listed: bool = True) -> None:
        level = InclusionLevel.INCLUDED if listed else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, place, content=text, inclusion=level))

    for place, text in reference.pages().items():
        add(place, text)
    for name in repository.PAGES:
        add(name, (ROOT / name).read_text(encoding="utf-8"))
    written = [(repository.source_of(file.src_uri), file.content_string) for file in files.documentation_pages()]
    for path in sorted(repository.linked(ROOT, written)):
        add(repository.page_of(path), repository.shown(ROOT, path), listed=False)
    add("assets/figures.css", figures.site_style(), listed=False)
    config.extra_css.append("assets/figures.css")
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    for line in repository.lists_in_paragraphs(markdown):
        log.warning("%s: a list needs an empty line before it: %r", page.file.src_uri, line)
    return repository.relinked(ROOT, page.file.src_uri, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    try:
        return figures.inlined(formulas.rendered(html))
    except formulas.FormulaError as error:
        log.warning("%s: %s", page.file.src_uri, error)
        return html
