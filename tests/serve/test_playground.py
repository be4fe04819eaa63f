"""The playground in a real browser, with keys that are pressed and a mouse that moves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import albor
from albor.inference.loaded import LanguageModel
from tests.browser import NEEDS_BROWSER
from tests.serve.serving import Running, serving, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [*NEEDS_BROWSER, pytest.mark.xdist_group("server")]

TOKENS = 12


@pytest.fixture
def page(chromium: Browser, server: Running) -> Iterator[Page]:
    """The playground of the server. Whatever it asks of anybody else, or complains about, fails the test."""
    with chromium.new_context(viewport={"width": 1200, "height": 900}) as context:
        page = context.new_page()
        elsewhere, complaints = list[str](), list[str]()
        page.on("request", lambda asked: None if asked.url.startswith(server.url) else elsewhere.append(asked.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}/")
        page.wait_for_selector("#model option", state="attached")
        page.fill("#tokens", str(TOKENS))
        yield page
        assert not elsewhere and not complaints


@pytest.fixture(scope="module")
def here(directories: dict[str, Path]) -> dict[str, LanguageModel]:
    return {name: albor.load(directories[name], threads=1) for name in ("base", "q8")}


def write(page: Page, before: str, after: str = "") -> None:
    """The text, the cursor between its parts, and the suggestions asked for."""
    page.fill("#code", before + after)
    page.evaluate("at => document.querySelector('#code').setSelectionRange(at, at)", len(before))
    page.locator("#code").press("Control+Space")


def ghost(page: Page, text: str) -> str:
    """What stands in grey, once it is all of the text."""
    page.wait_for_function("text => document.querySelector('.ghost')?.textContent === text", arg=text)
    shown: str = page.locator("#mirror").inner_text()
    return shown


def test_what_the_model_would_write_stands_at_the_cursor_and_tab_accepts_it(page: Page, here) -> None:
    said = here["base"].complete("def add(a, b):\n", max_tokens=TOKENS).text
    write(page, "def add(a, b):\n")
    assert said and ghost(page, said).rstrip("\n") == ("def add(a, b):\n" + said).rstrip("\n")
    page.locator("#code").press("Tab")
    assert page.input_value("#code") == "def add(a, b):\n" + said
    page.locator("#code").press("Control+z")
    assert page.input_value("#code") == "def add(a, b):\n"


def test_in_the_middle_of_a_line_it_fills_the_hole(page, here) -> None:
    before, after = "total = sum(", " for part in parts)\n"
    said = here["base"].complete(before, suffix=after, max_tokens=TOKENS, fim="spm").text
    write(page, before, after)
    assert said and ghost(page, said).startswith(before + said)
    page.locator("#code").press("Tab")
    assert page.input_value("#code") == before + said + after


def test_keys_overtake_what_was_asked_and_escape_drops_it(page, server, here) -> None:
    page.fill("#code", "")
    page.locator("#code").press_sequentially("while x:", delay=30)
    ghost(page, here["base"].complete("while x:", max_tokens=TOKENS).text)
    page.locator("#code").press("Escape")
    assert page.locator(".ghost").count() == 0
    page.locator("#code").press("Enter")
    assert page.input_value("#code") == "while x:\n    "  # as editors indent
    page.fill("#tokens", "256")
    page.locator("#code").press("x")
    page.wait_for_selector(".ghost")
    page.locator("#code").press("Escape")
    until(lambda: not server.gauge("albor_running_requests"), 5)


def test_two_rungs_side_by_side_with_their_times(page, here) -> None:
    page.select_option("#model", "base")
    page.select_option("#other", "q8")
    write(page, "import os\n")
    for name in ("base", "q8"):
        said = here[name].complete("import os\n", max_tokens=TOKENS).text
        card = page.locator(f".card[data-model={name}]")
        card.locator("dt", has_text="ended by").wait_for()
        assert card.locator("pre").evaluate("pre => pre.textContent") == said
        figures = dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))
        assert figures["all"].startswith(f"{TOKENS} in ") and figures["ended by"] == "length"
        assert all(re.search(r"\d ms", figures[key]) for key in ("first token", "all"))
        # A busy browser may read all tokens at once: then there is no time between them.
        assert re.search(r"\d ms each|^–$", figures["further ones"])
    page.locator(".card[data-model=q8] button").click()
    assert page.input_value("#code") == "import os\n" + here["q8"].complete("import os\n", max_tokens=TOKENS).text


def percent(said: str) -> float:
    """Of random weights some tokens are as unlikely as one of 8,192: "< 0.1%"."""
    return float(said.removeprefix("< ").rstrip("%"))


def test_resting_on_a_token_tells_what_else_was_likely(page) -> None:
    page.locator("#temperature").fill("1")
    page.fill("#tokens", "60")
    write(page, "import os\n")
    card = page.locator(".card[data-model=base]")
    card.locator("dt", has_text="ended by").wait_for()
    tokens = card.locator(".token:not([data-bytes])")
    # Of random tokens some take no place: line ends, control characters.
    seen = next(n for n, text in enumerate(tokens.all_inner_texts()) if text.strip() and tokens.nth(n).is_visible())
    label = tokens.nth(seen).get_attribute("aria-label") or ""
    text, _, share = label.rpartition(", ")
    assert json.loads(text) in card.locator("pre").evaluate("pre => pre.textContent") and 0 < percent(share) <= 100
    tokens.nth(seen).hover()
    rows = [row.locator("td").all_inner_texts() for row in page.locator("#tip tr").all()]
    shares = [percent(cells[1]) for cells in rows]
    assert len(rows) in (5, 6) and shares == sorted(shares, reverse=True) and sum(shares) <= 100.5
    assert page.locator("#tip tr.taken td").nth(1).inner_text() == share
    page.locator("h1").hover()
    assert page.locator("#tip").count() == 0


def test_temperature_draws_others(page, here) -> None:
    said = here["base"].complete("x = ", max_tokens=TOKENS).text
    page.locator("#temperature").fill("1.5")
    assert page.locator("#heat").inner_text() == "1.5"
    write(page, "x = ")
    page.locator(".card[data-model=base] dt", has_text="ended by").wait_for()
    assert page.locator(".card[data-model=base] pre").evaluate("pre => pre.textContent") != said


@pytest.mark.slow
def test_a_server_with_a_key_asks_for_it(chromium, directories: dict[str, Path], tmp_path: Path) -> None:
    words = f"inputs.model={directories['base']}", "stage.key_env=ALBOR_TEST_KEY"
    with serving(tmp_path, *words, ALBOR_TEST_KEY="secret") as server, chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{server.url}/")
        page.wait_for_selector("#keyed", state="visible")
        assert page.locator("#model option").count() == 0 and "key" in page.locator("#status").inner_text()
        page.fill("#key", "secret")
        page.locator("#key").press("Tab")
        page.wait_for_selector(".ghost")
        assert page.locator("#model option").all_inner_texts() == ["model"]
        assert page.locator("#status").inner_text() == ""
