"""The site: what its pages are made of, that a text which is missing fails it, and the built pages in a browser."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from albor.cli.arguments import FLAGS, VERBS
from albor.config.location import conf_directory, yaml_files
from albor.config.problems import CODES
from albor.contracts import CONTRACTS, RULES
from albor.plan.keys import entry_keys, keys, sweep_keys
from albor.stages import base as stages
from docs_site import figures, formulas, markdown, messages, reference, repository
from docs_site import keys as key_pages
from tests.browser import BROWSER, driven
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

for package in ("mkdocs", "material", "latex2mathml"):
    pytest.importorskip(package, reason="pip install 'albor[docs]'")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


def test_every_key_choice_contract_verb_flag_and_code_has_its_place(pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    of_keys = "\n".join(page for place, page in pages.items() if place.startswith(key_pages.KEYS))
    own = {k for k in keys() if k.startswith("stage.")}
    assert {*keys(), *entry_keys(), *sweep_keys()} - own <= {*re.findall("^### `(.*?)` ", of_keys, re.MULTILINE)}
    assert own - {"stage.name"} <= {*re.findall("^### `(.*?)` ", pages["reference/stages.md"], re.MULTILINE)}
    assert all(f"`{group}={choice}`" in text for group, choice, _ in yaml_files(conf_directory()))
    assert all(f"## {rule} " in pages["reference/contracts.md"] for rule in RULES)
    assert all(f"\n## {verb}\n" in pages["reference/commands.md"] for verb in VERBS)
    flags = {f"--{flag.replace('_', '-')}" for known in FLAGS.values() for flag in known}
    assert all(flag in pages["reference/commands.md"] for flag in flags)
    assert all(f"`{code}`" in pages["reference/errors.md"] for code in CODES)
    assert all(f"## {name} " in pages["reference/stages.md"] for name in stages.names())


def test_a_key_says_its_type_range_default_and_readers(pages: dict[str, str]) -> None:
    entry = pages["reference/keys/optim.md"].split("### `optim.weight_decay`")[1].split("###")[0]
    assert "number ≥ 0" in entry.replace("&ge;", "≥") and "default `0.1`" in entry
    assert "[pretrain](../stages.md#pretrain)" in entry and "stages.md#pack" not in entry
    assert "changes no result" in pages["reference/keys/tracking.md"]
    licence = pages["reference/keys/data.md"].split("### `data.source.licence`")[1].split("###")[0]
    assert "Where `kind` is `local`" in licence and "`files`, `hub`" in licence


def test_a_missing_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(markdown.MissingText, match=r"trainer\.max_steps"):
        key = dataclasses.replace(keys()["trainer.max_steps"], help=" ")
        key_pages.key_entry(key.path, [key], None)
    monkeypatch.setitem(VERBS, "plan", "")
    with pytest.raises(markdown.MissingText, match="plan"):
        reference.commands()


def test_a_contract_says_what_it_says(pages: dict[str, str]) -> None:
    found = messages.messages(CONTRACTS["C-TRAINCFG-001"].check)
    assert {m.severity for m in found} == {"error", "warning"}
    first = next(m for m in found if m.path == "trainer.max_steps")
    assert first.text.startswith("the data give … of … steps: … rows ÷ … sequences a step")
    assert first.help == "… epochs are needed: trainer.epochs=…; or trainer.max_steps=…"
    assert all(messages.messages(one.check) for one in CONTRACTS.values())


def test_the_figures_are_those_that_the_code_draws() -> None:
    place = ROOT / figures.PLACE
    assert {path.stem for path in place.iterdir()} == {*figures.FIGURES}, "python -m docs_site.figures"
    for name, draw in figures.FIGURES.items():
        drawing = draw()
        assert (place / f"{name}.svg").read_text() == drawing.svg(), "python -m docs_site.figures"
        root = ElementTree.fromstring(drawing.svg())
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        for word in root.iter("{http://www.w3.org/2000/svg}text"):
            assert 0 <= float(word.get("x", "-1")) <= drawing.width and 0 < float(word.get("y", "0")) <= drawing.height
    shown = {n for p in (ROOT / "docs/theory").glob("*.md") for n in re.findall(r"theory/([\w-]+)\.svg", p.read_text())}
    assert shown == {*figures.FIGURES}


def test_formulas_are_mathml_and_bad_ones_are_told() -> None:
    made = formulas.rendered(r'<p>a <span class="arithmatex">\(T^2 &lt; 1\)</span></p>')
    assert "<math" in made and "<msup>" in made and "arithmatex" not in made
    for wrong in (r"\left( 1", r"\nosuch{1}"):
        with pytest.raises(formulas.FormulaError):
            formulas.mathml(wrong)


def test_links_to_files_of_the_repository_lead_to_pages_of_the_site() -> None:
    text = (
        "[lua](../editors/neovim/albor.lua) `[x](../no)` [code](../editors/vscode) [run](../README.md#more) [](data.md)"
    )
    moved = repository.relinked(ROOT, "editors.md", text)
    assert "](source/editors/neovim/albor.lua.md)" in moved and "](source/editors/vscode/README.md)" in moved
    assert "](index.md#more)" in moved and "](data.md)" in moved and "`[x](../no)`" in moved
    assert repository.relinked(ROOT, "CHANGELOG.md", "[a](docs/data.md)") == "[a](data.md)"
    assert "```lua" in repository.shown(ROOT, "editors/neovim/albor.lua")
    assert [*repository.lists_in_paragraphs("a line\n- b\n\n- c\n  d\n- e")] == ["- b"]


SEEN = (
    "index",
    "tutorial",
    "howto/gate",
    "DECISIONS",
    "theory/pretraining",
    "theory/posttraining",
    "theory/compression",
    "reference/contracts",
    "reference/commands",
    "reference/groups",
    "reference/keys/data",
)
"""The pages that the browser opens."""


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    # Not --quiet: what is not told is not counted by --strict either.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_a_link_or_an_anchor_that_leads_nowhere_fails(tmp_path: Path) -> None:
    for name in ("docs", "docs_site", "editors", "CONTRIBUTING.md", "CHANGELOG.md", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    text = (ROOT / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(text)
    page = tmp_path / "docs/data.md"
    page.write_text(page.read_text() + "\n[a](nowhere.md) [b](training.md#nowhere)\n\nA formula $\\nosuch{1}$.\n")
    (tmp_path / "docs/alone.md").write_text("# In no navigation\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    for word in ("nowhere.md", "training.md#nowhere", "alone.md", "has a command that is not known"):
        assert word in done.stderr, done.stderr


@pytest.mark.xdist_group("site")
def test_no_page_names_another_server(site: Path) -> None:
    loads = re.compile(r"""(?:<(?:script|img|iframe)[^>]* src|<link[^>]* href)=["']?(?:https?:)?//([^"' >]+)""")
    found = {(path.name, host) for path in site.rglob("*.html") for host in loads.findall(path.read_text())}
    assert found == set()
    assert not re.search(r"@import|url\((?:https?:)?//", "".join(p.read_text() for p in site.rglob("*.css")))


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.xdist_group("site")
@pytest.mark.skipif(BROWSER is None, reason="no browser on PATH")
def test_in_a_browser_nothing_is_asked_elsewhere_and_nothing_overflows(address: str, site: Path) -> None:
    """At the width of a desk and of a phone, light and dark; search finds a key; figures follow the page's switch."""
    wrong: list[str] = []

    def opened(**options: Any) -> Page:
        page = browser.new_page(**options)
        page.on("request", lambda r: None if r.url.startswith((address, "data:")) else wrong.append(r.url))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        return page

    with driven() as browser:
        inks = set()
        for scheme, width in itertools.product(("light", "dark"), (1400, 400)):
            page = opened(viewport={"width": width, "height": 1000}, color_scheme=scheme)
            for name in SEEN:
                page.goto(f"{address}{name}.html")
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                wrong += [f"{name} is {wide} too wide at {width}"] if wide > 0 else []
            page.goto(f"{address}theory/posttraining.html")
            inks.add(page.evaluate("getComputedStyle(document.querySelector('.figure text')).fill"))
            assert page.locator(".figure svg[role=img]").count() == 6
            assert page.evaluate("[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().width)")
        assert len(inks) == 2
        page = opened()
        page.goto(f"{address}index.html")
        page.fill("input[name=query]", "weight_decay")
        page.wait_for_selector(".md-search-result__item a", state="attached")
        assert "optim.html" in (page.locator(".md-search-result__item a").first.get_attribute("href") or "")
        browser.close()
    assert wrong == []
