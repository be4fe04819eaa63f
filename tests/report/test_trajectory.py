"""The page of a ladder: the table, its picture, and both in a real browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from albor.report.measures import measures
from albor.report.model import Ancestor, Score
from albor.report.panels import panels
from albor.report.trajectory import Rung, Trajectory
from albor.report.trajectory_page import markdown, render, table_rows
from tests.report.test_report_browser import drive, visit
from tests.report.test_report_browser import pytestmark as browser
from tests.report.test_report_page import HOSTILE, Page
from tests.report.trajectory_example import HOW, rung, trajectory

BARE = Rung("base", "pretrain", "r1", "pretrained")


def hostile() -> Trajectory:
    score = Score(HOSTILE, HOSTILE, math.nan, -math.inf, math.inf, 3, floor=math.nan)
    made = Rung(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, 0, math.nan, math.inf, [score], 0.0, HOSTILE, math.nan)
    ancestor = Ancestor(HOSTILE, HOSTILE, HOSTILE, HOSTILE, math.nan, {HOSTILE: HOSTILE}, [HOSTILE])
    return Trajectory(
        HOSTILE, HOSTILE, [made, made], {HOSTILE: [(HOSTILE, HOSTILE)]}, HOSTILE, [ancestor], command=HOSTILE
    )


LADDERS = {
    "six": trajectory(),
    "one": trajectory("base"),
    "none": Trajectory("t", "r", []),
    "bare": Trajectory("t", "r", [BARE, BARE]),
    "hostile": hostile(),
}
every_ladder = pytest.mark.parametrize("made", LADDERS.values(), ids=LADDERS.keys())


@every_ladder
def test_the_page_is_whole_and_loads_nothing(made: Trajectory) -> None:
    html = render(made)
    page = Page(html)
    assert page.tags().count("script") == 1 and "img" not in page.tags() and "<!--" not in html
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not [a for _, attributes in page.elements for a in attributes if a in ("src", "srcset", "action")]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers)) and page.tags().count("h1") == 1


def test_hostile_text_stays_on_its_line_of_a_table() -> None:
    table = markdown(hostile()).split("\n\n")[0]
    assert len(table.splitlines()) == 4 and not re.search(r"(?<!\\)<(?!/?sub>)", table)
    assert not [c for row in table_rows(hostile()) for entry in row for c in entry if not c.isprintable()]


def test_what_was_not_measured_is_said() -> None:
    head, row = table_rows(Trajectory("t", "r", [BARE]))
    assert row[2:] == ["not measured"] * (len(head) - 2)
    assert "Not measured on any rung: bits per byte" in render(Trajectory("t", "r", [rung("q4", bits_per_byte=None)]))


def test_the_best_is_marked_where_there_is_a_choice() -> None:
    best = {m.name: [c.best for c in m.cells()] for m in measures(trajectory())}
    assert best["Bits per byte"] == [name == "distill" for name in HOW]
    assert best["mbpp pass@1"] == [name == "instruct" for name in HOW]
    assert not any(best["Parameters"])
    assert not any(c.best for m in measures(trajectory("base")) for c in m.cells())


def test_a_change_within_the_intervals_or_of_another_engine_is_neither_better_nor_worse() -> None:
    found = {m.name: [(c.change, c.tone) for c in m.cells()] for m in measures(trajectory("base", "pruned", "q4"))}
    assert found["Weights"] == [("", ""), ("−29%", "better"), ("−84%", "better")]
    assert found["humaneval_fim pass@1"] == [("", ""), ("+0.7", ""), ("−0.5", "")]
    assert found["Time per token"][1:] == [("−30%", "better"), ("−67%", "")]
    assert found["Bits per byte"][2] == ("+2.4%", "worse")
    gap = trajectory(rungs=[rung("base"), BARE, rung("q4")])
    assert {c.change for m in measures(gap) for c in m.cells()} == {""}


def test_values_that_are_no_numbers_are_shown_and_not_compared() -> None:
    made = trajectory(rungs=[rung("base"), rung("distill", val_ppl=math.nan, bits_per_byte=math.inf)])
    cells = {m.name: m.cells()[1] for m in measures(made)}
    assert cells["Val perplexity"].text == "NaN" and cells["Bits per byte"].text == "∞"
    assert not cells["Val perplexity"].change and not cells["Val perplexity"].best


def test_panels_are_in_even_rows_and_bars_begin_at_zero() -> None:
    drawn = panels(measures(trajectory()), list(HOW))
    assert [p.title for p in drawn] == ["Weights", "Bits per byte", "humaneval_fim", "mbpp", "Time per token"]
    assert [p.span for p in drawn] == [2, 2, 2, 3, 3]
    assert [p.base for p in drawn] == [True, False, True, True, True]
    size = drawn[0].marks
    assert (150 - size[5].y) / (150 - size[0].y) == pytest.approx(1_834_560 / 15_739_712, abs=0.01)  # type: ignore[operator]
    assert drawn[2].floor == "2.6" and all(m.low is not None and m.low > m.y > m.high for m in drawn[2].marks)  # type: ignore[operator]


def test_a_panel_of_zeros_stands_on_its_base_line() -> None:
    zeros = [Score("humaneval", "pass@1", 0.0, 0.0, 2.2, 164)]
    made = trajectory(rungs=[rung("base", scores=zeros), rung("distill", scores=zeros)])
    [panel] = [p for p in panels(measures(made), ["base", "distill"]) if p.title == "humaneval"]
    assert panel.base and {mark.y for mark in panel.marks} == {panel.bottom}


def test_times_of_different_engines_are_not_compared() -> None:
    rungs = [
        rung("pruned", ms_per_token=0.23, engine="torch, cuda"),
        rung("q4", ms_per_token=0.83, engine="llama.cpp, cpu"),
    ]
    unlike = trajectory(rungs=rungs)
    [panel] = [p for p in panels(measures(unlike), ["pruned", "q4"]) if p.title == "Time per token"]
    assert panel.unlike == "torch, cuda and llama.cpp, cpu" and not any(mark.best for mark in panel.marks)
    assert "torch, cuda and llama.cpp, cpu: not to be compared" in render(unlike)
    alike = trajectory(rungs=[replace(one, engine="torch, cuda") for one in rungs])
    [panel] = [p for p in panels(measures(alike), ["pruned", "q4"]) if p.title == "Time per token"]
    assert panel.unlike == "" and [mark.best for mark in panel.marks] == [True, False]


def test_markdown_is_the_table() -> None:
    lines = markdown(trajectory()).splitlines()
    assert lines[0].startswith("| rung | how | Parameters | Weights |") and lines[1].startswith("| --- | --- | --: |")
    assert "**1.8 MB** <sub>−84%</sub>" in lines[7]
    assert {line.count(" | ") for line in lines[:8]} == {lines[0].count(" | ")}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(made, id=name, marks=() if name in ("six", "hostile") else pytest.mark.slow)
        for name, made in LADDERS.items()
    ],
)
@browser[0]
@browser[1]
def test_the_page_is_ready_and_fits(made: Trajectory, tmp_path: Path) -> None:
    root, _, console = visit(tmp_path, render(made))
    assert root["data-ready"] == "true" and root["data-errors"] == "0" and not console
    frames = """
        const html = document.documentElement.outerHTML.replace(/<script[^]*?<\\/script>/g, '');
        return [400, 1600].map((width) => {
          const frame = document.createElement('iframe');
          frame.style.cssText = `position: absolute; border: 0; height: 900px; width: ${width}px`;
          document.body.append(frame);
          frame.contentDocument.write(html);
          frame.contentDocument.close();
          const root = frame.contentDocument.documentElement;
          const found = [root.clientWidth, root.scrollWidth, root.querySelectorAll('.measure svg[role=img]').length];
          frame.remove();
          return found;
        });
    """
    drawn = len(panels(measures(made), [rung.name for rung in made.rungs])) if made.rungs else 0
    for width, needed, pictures in drive(tmp_path, render(made), frames):
        assert needed <= width and pictures == drawn
