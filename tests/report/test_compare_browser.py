"""The page of a comparison in a real browser, with a mouse that moves and keys that are pressed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from albor.report.comparison.page import render
from albor.report.comparison.whole import Comparison
from tests.browser import NEEDS_BROWSER
from tests.report.compare_example import columns, comparison, entry, seeded
from tests.report.test_compare_page import full, hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [*NEEDS_BROWSER, pytest.mark.xdist_group("comparison")]
Open = Callable[..., Any]
CONFIGS = {"0.001": [3.0, 3.02], "0.003": [3.2, 3.22], "0.01": [3.5, 3.53]}


INKED = """([canvas, where]) => {
    const chart = albor.charts[0], scale = devicePixelRatio, { box } = chart;
    const [from, to] = { all: [0, chart.width], inside: [box.l, box.r], beyond: [box.r + 1, chart.width] }[where];
    const sizes = [from * scale, 0, (to - from) * scale, box.b * scale];
    const copy = new OffscreenCanvas(chart[canvas].width, chart[canvas].height).getContext('2d');
    copy.drawImage(chart[canvas], 0, 0);
    const pixels = copy.getImageData(...sizes).data;
    return pixels.filter((alpha, i) => i % 4 === 3 && alpha > 0).length;
}"""
"""Pixels of the first chart that something is drawn on, above the axis."""


@pytest.fixture
def shown(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a comparison from a file. What the page asks of a network, or complains about, fails the test."""
    complaints = list[str]()
    with chromium.new_context(viewport={"width": 1400, "height": 1000}, bypass_csp=False) as context:

        def opened(made: Comparison, **viewport: int) -> Page:
            file = tmp_path / "index.html"
            file.write_text(render(made), encoding="utf-8")
            page = context.new_page()
            if viewport:
                page.set_viewport_size({"width": 1400, "height": 1000} | viewport)  # type: ignore[arg-type]
            page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
            page.on("console", lambda said: complaints.append(said.text) if said.type != "log" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(file.as_uri())
            page.locator(".plot").first.scroll_into_view_if_needed()
            page.locator(".plot[data-drawn]").first.wait_for()
            assert page.locator("html").get_attribute("data-errors") == "0"
            return page

        yield opened
        assert not complaints


def curve(page: Page, chart: int, index: int, share: float) -> tuple[float, float]:
    """Where on the screen a curve of a chart is, at a share of the axis."""
    x, y = page.evaluate(
        """([chart, index, share]) => {
            const plot = albor.charts[chart], at = plot.top.getBoundingClientRect();
            const [low, high] = plot.group.domain(), { strong } = plot.curves()[index];
            const x = low + share * (high - low);
            const i = strong.x.findIndex((there) => there >= x);
            return [at.left + plot.toX(strong.x[i]), at.top + plot.toY(strong.y[i])];
        }""",
        [chart, index, share],
    )
    return x, y


def test_a_line_that_is_pointed_at_says_its_name_and_stands_out_everywhere(shown: Open) -> None:
    page = shown(comparison(entry("0.001"), entry("0.01", final=3.5)))
    page.mouse.move(*curve(page, 1, 1, 0.8))
    tip = page.locator("#tip")
    assert tip.locator("b").inner_text() == "lr=0.01"
    words = dict(zip(tip.locator("dt").all_inner_texts(), tip.locator("dd").all_inner_texts(), strict=True))
    assert words["step"] in ("32", "33") and float(words["raw"]) == pytest.approx(3.5 + 5 * 2.718**-4, abs=0.03)
    assert page.locator("#legend tr.hot").count() == 1
    assert page.locator(".plot[data-drawn] canvas.faded").count() == page.locator(".plot[data-drawn]").count()
    page.mouse.move(3, 3)
    assert tip.is_hidden() and page.locator("#legend tr.hot, canvas.faded").count() == 0


def test_seeds_are_a_mean_with_a_band_until_they_are_lines(shown: Open) -> None:
    page = shown(comparison(*seeded(CONFIGS)))
    first = page.locator(".plot[data-drawn]").first
    assert first.get_attribute("data-drawn") == "3" and page.locator("[name=band][value=range]").is_checked()
    page.mouse.move(*curve(page, 1, 0, 0.6))
    assert page.locator("#tip dt").all_inner_texts() == ["step", "mean of 2 seeds", "min–max"]
    assert page.locator("#legend tr.hot").count() == 2
    page.locator("label", has_text="lines").click()
    assert first.get_attribute("data-drawn") == "6"
    page.locator("label", has_text="mean ± sd").click()
    low, mean, high = page.evaluate(
        "() => { const { strong: s } = albor.charts[0].curves()[0]; return [s.low, s.y, s.high].map((v) => v.at(-1)); }"
    )
    assert mean == pytest.approx(3.01, abs=1e-5) and high - low == pytest.approx(2 * 0.0141421, abs=1e-4)


def test_a_mean_is_of_all_finished_seeds_and_ends_where_the_first_of_them_does(shown: Open) -> None:
    seeds = [entry(seed=i, columns=columns(3 + i, seconds=seconds)) for i, seconds in enumerate((0.5, 1, 2))]
    killed = entry(seed=3, status="failed", columns=columns(steps=5, every=1))
    page = shown(comparison(*seeds, killed))
    ends = "() => { const { strong: s } = albor.charts[1].curves()[0]; return [s.x[0], s.x.at(-1), s.y.at(-1)]; }"
    for axis, first, last in (("step", 1, 40), ("tokens", 1024, 40960), ("FLOPs", 1024e3, 40960e3), ("time", 0, 19.5)):
        page.locator("label", has_text=axis).first.click()
        begin, end, value = page.evaluate(ends)
        assert (begin, end) == pytest.approx((first, last)), axis
    at = [i + 3 + 5 * 2.718281828 ** (-(19.5 / seconds + 1) / 8) for i, seconds in enumerate((0.5, 1, 2))]
    assert value == pytest.approx(sum(at) / 3, abs=0.01)
    page.mouse.move(*curve(page, 1, 0, 0.2))
    words = dict(zip(page.locator("#tip dt").all_inner_texts(), page.locator("#tip dd").all_inner_texts(), strict=True))
    x, y = page.evaluate(
        "() => { const { x, curve: { strong: s } } = albor.view.at; return [x, s.y[s.x.indexOf(x)]]; }"
    )
    assert words["time"] == f"{x:.3g} s" and float(words["mean of 3 seeds"]) == pytest.approx(y, abs=1e-4)


def test_dragging_zooms_and_a_double_click_shows_all_again(shown: Open) -> None:
    page = shown(comparison(*seeded(CONFIGS)))
    (x0, y0), (x1, _) = curve(page, 0, 0, 0.3), curve(page, 0, 0, 0.7)
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, y0)
    page.mouse.move(x1, y0)
    page.mouse.up()
    low, high = page.evaluate("() => albor.view.domain()")
    assert 5 < low < high < 35 and page.locator("#reset").is_enabled()
    assert page.evaluate(INKED, ["middle", "beyond"]) == 0 < page.evaluate(INKED, ["middle", "inside"])
    page.evaluate("() => albor.view.zoom([21, 24])")  # between two validations
    assert page.evaluate("() => albor.charts[0].range([21, 24], false)[0]") > 3
    page.mouse.dblclick(x0, y0)
    assert page.evaluate("() => albor.view.view") is None and page.locator("#reset").is_disabled()


def test_every_axis_and_smoothing(shown: Open) -> None:
    page = shown(comparison(entry("0.001"), entry("0.01", flops_per_token=None)))
    for axis, end in (("tokens", 40 * 1024), ("flops", 40 * 1024 * 1000), ("time", 39)):
        page.locator("label", has_text=axis if axis != "flops" else "FLOPs").first.click()
        assert page.evaluate("() => albor.view.domain()[1]") == pytest.approx(end)
    assert page.locator(".plot[data-drawn]").first.get_attribute("data-drawn") == "2"
    page.locator("#smoothing").fill("2")
    assert page.locator("#smoothing-value").inner_text() == "over 5 steps"
    assert page.evaluate("() => albor.charts[1].curves().every((curve) => curve.raw !== null)")
    log = page.locator("[data-chart=loss] [data-do=log]")
    log.click()
    assert log.get_attribute("aria-pressed") == "true"
    assert page.locator("[data-chart=val_ppl] [data-do=log]").get_attribute("aria-pressed") == "true"


def test_runs_are_toggled_filtered_and_sorted(shown: Open) -> None:
    page = shown(comparison(*seeded(CONFIGS)))
    page.locator("label", has_text="lines").click()
    first = page.locator(".plot[data-drawn]").first
    page.locator("#legend tbody input").first.uncheck()
    assert first.get_attribute("data-drawn") == "5" and page.locator("#shown").inner_text() == "5 of 6"
    page.locator("#filter").fill("lr=0.01")
    assert first.get_attribute("data-drawn") == "2"
    assert page.locator("#legend tbody tr:visible").count() == 2
    page.locator("#none").click()
    assert first.get_attribute("data-drawn") == "0"
    assert page.evaluate("() => albor.charts[0].absence()") == "no run is shown"
    page.locator("#filter").fill("nothing has this")
    assert page.evaluate("() => albor.charts[0].absence()") == "no run matches the filter"
    assert page.locator("#shown").inner_text() == "no match"
    assert page.evaluate(INKED, ["base", "all"]) == 0 < page.evaluate(INKED, ["middle", "inside"])
    page.locator("#filter").fill("")
    page.locator("#all").click()
    assert first.get_attribute("data-drawn") == "6"
    head = page.locator("#legend th button", has_text="lr")
    head.click()
    head.click()
    values = page.locator("#legend tbody tr td:nth-child(3)").all_inner_texts()
    assert values == ["0.01", "0.01", "0.003", "0.003", "0.001", "0.001"]
    page.select_option("#color", label="optim.lr")
    assert page.locator("#ramp").is_visible()


def test_charts_and_tables_are_saved(shown: Open) -> None:
    page = shown(comparison(*seeded(CONFIGS)))
    with page.expect_download() as got:
        page.locator("[data-chart=loss] [data-do=csv]").click()
    assert got.value.suggested_filename == "runs-1-loss.csv"
    lines = list(csv.DictReader(io.StringIO(got.value.path().read_text())))
    assert len(lines) == 6 * 40 and lines[0].keys() >= {"run", "config", "seed", "step", "tokens", "flops", "value"}
    assert {line["config"] for line in lines} == {f"lr={lr}" for lr in CONFIGS}
    last = lines[39]
    assert (last["step"], last["tokens"], last["flops"]) == ("40", "40960", "40960000")
    assert float(last["value"]) == pytest.approx(3.0 + 5 * 2.718281828**-5, abs=1e-5)
    with page.expect_download() as got:
        page.locator("[data-chart=val_loss] [data-do=png]").click()
    data = got.value.path().read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 5000
    assert page.evaluate("() => albor.charts[0].width === albor.charts[0].box.r + 14"), "drawn for the screen again"
    with page.expect_download() as got:
        page.locator("#finals-csv").click()
    best, second, third = csv.DictReader(io.StringIO(got.value.path().read_text()))
    assert (best["rank"], best["config"], best["runs"], best["val_loss_n"], best["val_loss_p"]) == (
        *("1", "lr=0.001", "2", "2", ""),
    )
    assert float(best["val_loss_mean"]) == 3.01 and float(best["val_loss_sd"]) == pytest.approx(0.0141421356)
    assert float(second["val_loss_difference"]) == pytest.approx(0.2) and float(third["val_loss_p"]) < 0.05
    assert float(second["tokens_mean"]) == 40960


def test_a_chart_is_read_with_the_keyboard(shown: Open) -> None:
    page = shown(comparison(entry("0.001"), entry("0.01", final=3.5)))
    page.locator("[data-chart=loss] canvas[tabindex]").focus()
    page.keyboard.press("End")
    assert "lr=0.001" in page.locator("#announce").inner_text()
    page.keyboard.press("ArrowUp")
    assert "lr=0.01," in page.locator("#announce").inner_text() and "step 40" in page.locator("#announce").inner_text()
    page.keyboard.press("+")
    assert page.evaluate("() => albor.view.view") is not None
    page.keyboard.press("Escape")
    assert page.evaluate("() => albor.view.view") is None


def test_only_charts_in_sight_are_drawn(shown: Open) -> None:
    odd = columns()
    many = type(odd)(odd.steps, {f"m{i}": odd.values["loss"] for i in range(30)} | dict(odd.values))
    page = shown(comparison(entry("0.001", columns=many), entry("0.01", columns=many)))
    drawn = page.locator(".plot[data-drawn]").count()
    assert drawn < page.locator(".plot").count() / 2
    page.locator(".plot").last.scroll_into_view_if_needed()
    page.locator(".plot").last.locator("xpath=self::*[@data-drawn]").wait_for()


def test_everything_fits_a_telephone_and_hostile_text_runs_nothing(shown: Open) -> None:
    for made in (full(), hostile()):
        page = shown(made, width=400)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        for box in (link.bounding_box() for link in page.locator("nav a").all()):
            assert box and box["x"] + box["width"] <= 400
        for chart in page.locator(".plot").all():
            chart.scroll_into_view_if_needed()
        page.locator("#theme").click()
        assert page.locator("html").get_attribute("data-errors") == "0"


def test_a_table_that_does_not_fit_scrolls_beside_its_names(shown: Open) -> None:
    page = shown(full(), width=1000)
    box = page.locator("#finals .scroll").first
    assert "more" in (box.get_attribute("class") or "").split()
    box.evaluate("(box) => box.scrollTo(box.scrollWidth, 0)")
    page.locator("#finals .scroll:not(.more)").first.wait_for()
    name, around = page.locator("#finals-table tbody .name").first.bounding_box(), box.bounding_box()
    assert name and around and name["x"] == around["x"]
    select = page.locator("#color")
    assert select.evaluate("(select) => select.clientWidth") > 150


def test_on_paper_every_chart_is_drawn_and_nothing_is_cut(shown: Open) -> None:
    page = shown(full(), width=720)
    page.evaluate("() => document.querySelector('#theme').click()")
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    assert set(page.evaluate("() => [...albor.charts, ...albor.ladder.charts].map((chart) => chart.width)")) == {350}
    assert page.locator("#legend input:visible, .tools:visible, .buttons button:visible").count() == 0
    assert page.locator("#finals-table th button:visible").count() > 5
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="screen")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark
    assert page.evaluate("() => albor.charts.every((c) => c.stale || c.width === c.plot.clientWidth)")
