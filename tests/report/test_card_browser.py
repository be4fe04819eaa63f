"""The data card in a real browser: it sorts, it searches, it stays within the window."""

from __future__ import annotations

from pathlib import Path

import pytest

from albor.data.card import DataCard
from albor.report.data_card import card_page
from tests.data.card_example import card, empty_card, thin_card
from tests.data.test_card import hostile_card
from tests.report.test_report_browser import drive, pytestmark, visit

__all__ = ["pytestmark"]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(card(), id="whole", marks=pytest.mark.slow),
        pytest.param(thin_card("long-name-" * 20), id="long"),
        pytest.param(empty_card(), id="empty", marks=pytest.mark.slow),
        pytest.param(hostile_card(), id="hostile"),
    ],
)
def test_the_page_is_ready_and_fits(made: DataCard, tmp_path: Path) -> None:
    root, _, console = visit(tmp_path, card_page(made))
    assert root["data-ready"] == "true" and root["data-errors"] == "0" and not console
    script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth];"
    wide, window = drive(tmp_path, card_page(made), script)
    assert wide <= window


def test_packages_are_sorted_and_searched(tmp_path: Path) -> None:
    script = """
        const table = document.querySelector('#packages-table');
        const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);
        const column = (n) => shown().map((row) => row.cells[n].textContent);
        const click = (n) => table.tHead.rows[0].cells[n].querySelector('button').click();
        click(0); const names = column(0);
        click(6); const sizes = column(6);
        click(6); const smallest = column(6)[0];
        const sorted = table.tHead.rows[0].cells[6].ariaSort;
        const input = document.querySelector('[data-search]');
        input.value = 'APACHE val'; input.dispatchEvent(new Event('input'));
        const count = document.querySelector('.find output').textContent;
        return { names, sizes, smallest, sorted, found: column(2), count };
    """
    made = card()
    got = drive(tmp_path, card_page(made), script)
    assert got["names"] == sorted((r.package for r in made.sources), key=str.lower)
    assert got["sizes"][0].endswith("MB") and got["smallest"] == got["sizes"][-1] and got["sorted"] == "ascending"
    held = [r for r in made.sources if r.licence == "Apache-2.0" and r.split == "val"]
    assert got["found"] == ["Apache-2.0"] * len(held) and got["count"] == f"{len(held)} of 83 rows"
