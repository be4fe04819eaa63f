import dataclasses
import itertools
import json
import math
import re
from html.parser import HTMLParser

import pytest

from albor.report.formats import duration, fact, flatten, moment, number, short
from albor.report.highlight import highlight
from albor.report.lineage import draw, layers, resolve
from albor.report.model import Ancestor, Headline, Report, Score
from albor.report.page import render
from albor.report.scale import perplexity_scale
from tests.report.report_example import COMPLETION, PROMPT, report, rows

HOSTILE = (
    "</script><script>alert(1)</script><!--<script><img src=x onerror=alert(2)>"
    "\"'`${1}{{ 7*7 }}&lt; \u2028 \0 é 日本 🙂 \udc80"
)


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text by element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def hostile_report() -> Report:
    return report(
        title=HOSTILE, run_id=HOSTILE, stage=HOSTILE, status=HOSTILE, note=HOSTILE, started=HOSTILE, finished=HOSTILE,
        command=HOSTILE, samples=[(HOSTILE, HOSTILE)], config={HOSTILE: {HOSTILE: HOSTILE, "list": [HOSTILE]}},
        evaluation={HOSTILE: math.nan}, environment={HOSTILE: HOSTILE},
        metrics=[{"step": 1, "loss": math.nan, HOSTILE: 1.0, "constructor": 2.0, "__proto__": 3.0}],
        lineage=[Ancestor(HOSTILE, HOSTILE, HOSTILE, HOSTILE, math.nan, {HOSTILE: HOSTILE}, [HOSTILE])],
    )  # fmt: skip


def test_hostile_text_stays_text() -> None:
    html = render(hostile_report())
    calm = render(report(metrics=[{"step": 1, "loss": 1.0, "a": 1.0, "b": 2.0, "c": 3.0}], samples=[("a", "b")]))
    page = Page(html)
    assert page.tags().count("script") == Page(calm).tags().count("script") == 2
    assert "img" not in page.tags()
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<!--" not in html
    assert "${1}{{ 7*7 }}&amp;lt;" in html
    html.encode("utf-8")


def test_the_embedded_data_is_json_without_markup() -> None:
    html = render(hostile_report())
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data and not set("<>&") & set(data.group(1))
    assert json.loads(data.group(1))["runs"][0]["name"].encode("utf-8", "replace")


def test_the_page_loads_nothing() -> None:
    page = Page(render(report()))
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "ping"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    html = render(report())
    assert (
        "http://" not in html
        and "https://" not in html
        and "@import" not in html
        and "url(" not in html.replace("url(#", "")
    )
    assert "default-src 'none'" in html


def test_only_the_first_four_fields_are_needed() -> None:
    html = render(Report("t", "r", "pretrain", "failed"))
    assert "No step was logged" in html
    assert Page(html).tags().count("h2") == 1


@pytest.mark.parametrize("metrics", [
    [{"step": 1, "loss": 2.0}],
    [{"step": 0, "val_loss": 9.0, "val_ppl": 8103.0}],
    [{"step": 1, "loss": math.nan, "lr": math.inf, "grad_norm": -math.inf}],
    [{"step": 1, "loss": 10**400}],
    [{"loss": 2.0}],
])  # fmt: skip
def test_thin_metrics_render(metrics: list[dict[str, float]]) -> None:
    html = render(
        report(metrics=metrics, headline=Headline(val_ppl_after=math.nan, seconds=math.nan), samples=[], lineage=[])
    )
    assert "10,000" not in html.replace(report().command, "").split('id="config"')[0]


def test_the_page_of_10_000_steps_is_small() -> None:
    assert len(render(report())) < 450_000


def identifiers_of(page: Page) -> set[str | None]:
    """The ids of a page whose structure is sound: one heading of the first level, named sections, no id twice."""
    assert page.tags().count("h1") == 1
    assert all("aria-labelledby" in attributes for tag, attributes in page.elements if tag == "section")
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    return set(identifiers)


def test_one_heading_of_the_first_level_and_every_section_named() -> None:
    assert identifiers_of(Page(render(report())))


def test_the_scale_places_a_model_between_its_vocabulary_and_excellent() -> None:
    scale = perplexity_scale(Headline(val_ppl_before=32_768.0, val_ppl_after=100.0, vocab_size=32_768))
    assert scale and scale.before and scale.before.at == 0 and 40 < scale.after.at < 70
    assert [mark.label for mark in scale.landmarks] == [
        "untrained",
        "token frequencies",
        "syntax and idioms",
        "good",
        "excellent",
    ]
    assert "that vocabulary too" in scale.note
    small = perplexity_scale(Headline(val_ppl_after=2.0, vocab_size=8192))
    assert small and small.after.at == 100 and "reads lower" in small.note
    unknown = perplexity_scale(Headline(val_ppl_after=1e9))
    assert unknown and unknown.after.at == 0 and "not recorded" in unknown.note
    assert perplexity_scale(Headline()) is None
    assert perplexity_scale(Headline(val_ppl_after=math.inf)) is None


@pytest.mark.parametrize(
    ("vocab", "dropped"), [(1_024, "token frequencies"), (110, "syntax and idioms"), (262_144, None)]
)
@pytest.mark.parametrize("after", [1.0, 12.0])
def test_landmarks_that_would_overprint_give_way_to_the_one_before(
    vocab: int, dropped: str | None, after: float
) -> None:
    scale = perplexity_scale(Headline(val_ppl_after=after, vocab_size=vocab))
    assert scale
    places, labels = [mark.at for mark in scale.landmarks], [mark.label for mark in scale.landmarks]
    assert labels[0] == "untrained" and labels[-1] == "excellent" and dropped not in labels
    assert all(b - a > 8 for a, b in itertools.pairwise(places))


def test_inputs_resolve_by_id_by_stage_and_by_name() -> None:
    runs = [
        Ancestor("corpus", "a", "1"),
        Ancestor("tokenizer", "a", "2"),
        Ancestor("x", "b", "3", inputs=("tokenizer/a", "1", "b", "?")),
    ]
    assert resolve(runs) == [[], [], [1, 0]]


def test_the_graph_leads_long_edges_around_and_survives_a_cycle() -> None:
    assert layers([[], [0], [1, 0]]) == [0, 1, 2]
    graph = draw(report().lineage, report().run_id)
    assert graph and len(graph.boxes) == 6 and len(graph.edges) == 8
    assert [box.name for box in graph.boxes if box.current] == ["tiny"]
    assert len({(box.x, box.y) for box in graph.boxes}) == 6
    assert draw([Ancestor("a", "a", "a", inputs=("b",)), Ancestor("b", "b", "b", inputs=("a",))], "a")


def test_a_string_may_begin_in_the_prompt_and_end_in_the_completion() -> None:
    prompt, completion = highlight(PROMPT, COMPLETION)
    assert completion.startswith('<span class="py-string">&#34;&#34;&#34;</span>')
    for marked, text in ((prompt, PROMPT), (completion, COMPLETION)):
        assert "".join(Page(marked).texts) == text


@pytest.mark.parametrize(
    "text", ["", '"""', "'", "\\", '"\\', '"""\\', "f'{", "@", "0x", "é = 'ü'", HOSTILE, '"' * 4001, "'''\\" * 900]
)
def test_any_text_is_highlighted_whole(text: str) -> None:
    assert "".join(Page(highlight("", text)[1] + highlight(text, "")[0]).texts).replace("\ufffd", "\0") == text * 2


def test_numbers_for_readers() -> None:
    assert [number(v) for v in (None, True, 1786, 0.0, 1e-6, 0.00123456, 24.531, 12345.6, math.nan, -math.inf)] == [
        "–", "true", "1,786", "0", "1e-06", "0.001235", "24.53", "12,346", "NaN", "−∞"]  # fmt: skip
    assert [short(v) for v in (398_509_056, 9_999, 24_890.0, 81_920_000, 999_999_999)] == [
        "398.5M",
        "9,999",
        "24.9k",
        "81.9M",
        "1.00B",
    ]
    assert [duration(v) for v in (0.4, 59.7, 200, 7500, 200_000, None, math.inf)] == [
        "0.40 s", "1 min 00 s", "3 min 20 s", "2 h 05 min", "2 d 7 h", "–", "–"]  # fmt: skip
    assert fact(24.530) == "24.53" and fact(100.0) == "100" and fact("x") == "x"
    assert moment("2025-11-20T09:14:03.5+00:00") == "2025-11-20 09:14:03 UTC" and moment("soon") == "soon"


def test_the_config_is_flat_and_reads_like_yaml() -> None:
    assert list(flatten({"a": {"b": 1, "c": {}}, "d": [1, "x"], "e": None, "f": "", "g": 6e-4})) == [
        ("a.b", "1"), ("a.c", "{}"), ("d", '[1, "x"]'), ("e", "null"), ("f", '""'), ("g", "0.0006")]  # fmt: skip


def test_a_report_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        report(metrics=rows(3)).title = "other"  # type: ignore[misc]


def test_scores_stand_beside_their_interval_their_floor_and_known_models() -> None:
    score = Score("humaneval", "pass@1", 9.1, 5.25, 13.4, 164, 50, floor=2.6, known=[("<b>SantaCoder</b>", 18.1)])
    page = render(report(scores=[score]))
    row = page[page.index('<table class="scores">') :].partition("</table>")[0]
    for text in ("humaneval", "pass@1", "9.1", "5.2–13.4", "164 × 50", "2.6 pass with nothing filled in", "18.1"):
        assert text in row
    assert "<b>SantaCoder" not in page and "&lt;b&gt;SantaCoder" in row
    assert "--from: 5.25; --to: 13.4" in row
    assert '<table class="scores">' not in render(report())
