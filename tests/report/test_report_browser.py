"""The page in a real browser: it draws, answers, and complains about nothing."""

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from albor.report.model import Report
from albor.report.page import render
from tests.browser import BROWSER, NEEDS_BROWSER, SWITCHES
from tests.report.report_example import report, rows
from tests.report.test_report_page import hostile_report

DUMPING = ("--headless", "--enable-logging=stderr", "--window-size=1400,1000", "--dump-dom")
pytestmark = NEEDS_BROWSER


def visit(tmp_path: Path, html: str) -> tuple[dict[str, str], str, list[str]]:
    """(attributes of the root element, DOM, console) once the page has loaded from a file."""
    assert BROWSER
    page = tmp_path / "page.html"
    page.write_text(html, encoding="utf-8")
    command = [
        BROWSER,
        *SWITCHES,
        *DUMPING,
        f"--user-data-dir={tmp_path / 'profile'}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    root = re.search(r"<html([^>]*)>", done.stdout)
    assert root, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return dict(re.findall(r'([\w-]+)="([^"]*)"', root.group(1))), done.stdout, console


def drive(tmp_path: Path, html: str, script: str) -> Any:
    """What a script of the test's own returns on the page (whose policy would not let it run, so it is taken out)."""
    html = re.sub(r"<meta http-equiv=.*?>", "", html)
    code = f"document.documentElement.dataset.result = encodeURIComponent(JSON.stringify((() => {{ {script} }})()));"
    root, _, console = visit(tmp_path, html.replace("</body>", f"<script>{code}</script></body>"))
    assert not console and root["data-errors"] == "0"
    return json.loads(unquote(root["data-result"]))


def test_10_000_steps_are_drawn(tmp_path: Path) -> None:
    root, dom, console = visit(tmp_path, render(report()))
    assert root["data-ready"] == "true" and root["data-errors"] == "0" and not console
    assert re.findall(r'data-drawn="(\d)"', dom) == ["2", "1", "1", "1"]
    assert int(root["data-interactive-ms"]) > 0  # about 250 on two idle cores


def test_hostile_text_runs_nothing(tmp_path: Path) -> None:
    root, dom, console = visit(tmp_path, render(hostile_report()))
    assert root["data-ready"] == "true" and root["data-errors"] == "0" and not console
    assert dom.count("<script") == 2


@pytest.mark.parametrize("metrics", [
    [], [{"step": 1, "loss": 2.0}], [{"step": 0, "val_loss": 9.0}], [{"step": 5, "loss": math.nan, "lr": 0.0}],
    [{"step": s, "loss": 2.0, "time": 9.0 - s} for s in (1, 2, 7)],
], ids=["none", "one point", "validation only", "nan only", "clock runs back"])  # fmt: skip
def test_thin_metrics_draw(tmp_path: Path, metrics: list[dict[str, float]]) -> None:
    script = """
        const { group } = albor;
        if (!group) return 'no charts';
        for (const axis of ['time', 'tokens', 'step']) group.setAxis(axis);
        for (const chart of group.charts) { chart.logY = true; chart.draw(); }
        group.setSpan(50); group.point(0); group.zoom([0, 1]); group.zoom(null);
        const press = (key) => group.charts[0].top.dispatchEvent(new KeyboardEvent('keydown', { key }));
        for (const key of ['ArrowLeft', '+', '-', 'Escape']) press(key);
        return group.charts.map(albor.csv).join('');
    """
    result = drive(tmp_path, render(Report("t", "r", "pretrain", "failed", metrics=metrics)), script)
    assert result == "no charts" if not metrics else "run,series,step" in result


def test_charts_share_crosshair_zoom_and_axis(tmp_path: Path) -> None:
    script = """
        const { group, charts: [loss, lr] } = albor;
        const left = loss.top.getBoundingClientRect().left;
        const spot = (x) => ({ clientX: left + loss.toX(x), bubbles: true, pointerType: 'mouse', pointerId: 1 });
        loss.top.setPointerCapture = () => {};
        const send = (kind, x) => loss.top.dispatchEvent(new PointerEvent(kind, spot(x)));
        send('pointermove', 500);
        const hover = [document.querySelector('#readout').textContent, loss.legend.textContent, lr.legend.textContent];
        send('pointerdown', 200); send('pointermove', 400); send('pointerup', 400);
        const view = group.view.map(Math.round);
        const csv = albor.csv(loss).trim().split('\\n');
        group.setAxis('tokens');
        const tokens = group.view;
        loss.top.dispatchEvent(new MouseEvent('dblclick'));
        loss.top.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));
        const blobs = [];
        URL.createObjectURL = (blob) => { blobs.push(blob.type); return '#'; };
        document.querySelector('[data-do=csv]').click();
        const said = document.querySelector('#announce').textContent;
        return { hover, blobs, view, csv, tokens, reset: group.view, said };
    """
    made = rows(1000, every=250)
    got = drive(tmp_path, render(report(metrics=made)), script)
    by_step = {row["step"]: row for row in made if "loss" in row}
    assert got["hover"][0].startswith("step 500 · 4.096M tokens · ")
    assert f"train {by_step[500]['loss']:.4f}"[:10] in got["hover"][1] and "validation" in got["hover"][1]
    assert float(got["hover"][2]) == pytest.approx(by_step[500]["lr"], rel=1e-3)
    assert abs(got["view"][0] - 200) <= 2 and abs(got["view"][1] - 400) <= 2
    assert 199 <= len(got["csv"]) - 2 <= 203 and got["csv"][0] == "run,series,step,tokens,seconds,value"
    run, name, step, tokens, seconds, value = got["csv"][1].split(",")
    assert (run, name, int(tokens)) == (report().run_id, "train", int(step) * 8192)
    assert float(value) == pytest.approx(by_step[int(step)]["loss"], rel=1e-6)
    assert float(seconds) == pytest.approx(by_step[int(step)]["time"] - made[0]["time"], abs=0.01)
    assert got["tokens"][0] == pytest.approx(200 * 8192, rel=0.02)
    assert got["blobs"] == ["text/csv"]
    assert got["reset"] is None and "Loss: train" in got["said"]


def test_the_config_is_searched_and_the_lineage_explains_itself(tmp_path: Path) -> None:
    script = """
        const input = document.querySelector('#config-search');
        input.value = 'OPTIM schedule';
        input.dispatchEvent(new Event('input'));
        document.querySelector('.box').dispatchEvent(new Event('focus'));
        return [document.querySelector('#config-count').textContent,
                [...document.querySelectorAll('.config tbody tr:not([hidden]) th')].map((th) => th.textContent),
                [...document.querySelectorAll('.facts > div:not([hidden]) h3')].map((h) => h.textContent)];
    """
    count, keys, facts = drive(tmp_path, render(report()), script)
    assert count == "2 of 25 keys" and keys == ["optim.schedule.name", "optim.schedule.floor"]
    assert facts == ["source · stdlib"]


def test_thinning_keeps_every_spike(tmp_path: Path) -> None:
    """A single row of 10,000 that is far off is still drawn: some pixel of its column is as high as it is."""
    made = [{"step": s, "loss": 9.0 if s == 6543 else 1.0} for s in range(1, 10_001)]
    script = """
        albor.group.setSpan(1);
        const chart = albor.charts[0];
        const x = Math.round(chart.toX(6543) * devicePixelRatio), y = Math.round(chart.toY(9));
        const pixels = chart.base.getContext('2d').getImageData(x - 2, y - 2, 5, 8).data;
        return Math.max(...pixels.filter((_, i) => i % 4 === 3));
    """
    assert drive(tmp_path, render(report(metrics=made)), script) > 100
