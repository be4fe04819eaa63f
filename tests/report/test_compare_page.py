"""The page of a comparison as a document: whole, escaped, self-contained."""

import json
import re

from albor.report.comparison.columns import Alert, Columns
from albor.report.comparison.model import Pairing, Path
from albor.report.comparison.page import render
from albor.report.comparison.table import markdown, plain
from albor.report.comparison.whole import Comparison
from albor.report.model import Score
from tests.report.compare_example import columns, comparison, entry, evaluated, seeded
from tests.report.test_report_page import HOSTILE, Page, identifiers_of


def full() -> Comparison:
    """Everything that a page may have."""
    score = Score("humaneval", "pass@1", 9.1, 5.2, 13.4, 164)
    said = evaluated(bits_per_byte=1.4, scores=[score], samples=[("def f(", "x): pass"), ("import ", "os")])
    runs = [entry("0.001", evaluation=said), entry("0.001", 1), entry("0.01", final=3.4, evaluation=said)]
    pairing = Pairing(group="lr=0.01", against="lr=0.001", task="humaneval", count=164, difference=-3.0, low=-5.0,
                      high=-1.0, p=0.01, unit="%", better=1)  # fmt: skip
    return comparison(*runs).with_evaluations([pairing], [Path("a", [("base", said), ("q4", said)])])


def hostile() -> Comparison:
    """Every text that a store may hold is somebody's attack."""
    said = evaluated(name=HOSTILE, scores=[Score(HOSTILE, HOSTILE, 1.0, 0.0, 2.0, 3)], samples=[(HOSTILE, HOSTILE)])
    odd = columns()
    curves = type(odd)(odd.steps, {**odd.values, HOSTILE: odd.values["loss"], "__proto__": odd.values["loss"]},
                       alerts=[Alert(1.0, HOSTILE, HOSTILE)])  # fmt: skip
    runs = [
        entry(id=f"{HOSTILE}{i}", name=f"{HOSTILE}{i}", stage=HOSTILE, label=HOSTILE, status=HOSTILE if i else "done",
              error=HOSTILE, directory=HOSTILE, command=HOSTILE, settings={HOSTILE: f"{HOSTILE}{i}", "seed": HOSTILE},
              columns=curves, environment={HOSTILE: HOSTILE}, evaluation=said)
        for i in range(2)
    ]  # fmt: skip
    pairing = Pairing(group=HOSTILE, against=HOSTILE, task=HOSTILE, count=2, difference=0.0, low=0.0, high=0.0, p=1.0,
                      unit=HOSTILE, better=1)  # fmt: skip
    made = comparison(*runs, name=HOSTILE, command=HOSTILE)
    return made.with_evaluations([pairing], [Path(HOSTILE, [(HOSTILE, said), ("x", said)])])


def test_hostile_text_stays_text() -> None:
    html = render(hostile())
    page = Page(html)
    assert page.tags().count("script") == 2 and "img" not in page.tags() and "<!--" not in html
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data and not set("<>&") & set(data.group(1)) and json.loads(data.group(1))["runs"]
    html.encode("utf-8")


def test_hostile_text_is_no_markdown_and_no_terminals_command() -> None:
    made = hostile()
    told = markdown(made)
    assert "<script" not in re.sub(r"```.*```", "", told, flags=re.DOTALL).replace("\\<", "")
    assert all(line.isprintable() for line in told.splitlines())
    assert all(cell.isprintable() for line in plain(made) for cell in line)
    fence = re.search(r"^(`+)sh$", markdown(comparison(entry(), command="a ```` b")), re.MULTILINE)
    assert fence and len(fence.group(1)) == 5


def test_the_page_loads_nothing() -> None:
    html = render(full())
    for tag, attributes in Page(html).elements:
        assert not {"src", "srcset", "action", "ping"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert "http://" not in html and "https://" not in html and "@import" not in html and "url(" not in html
    assert "default-src 'none'" in html


def test_every_section_is_named_and_no_id_is_there_twice() -> None:
    page = Page(render(full()))
    identifiers = identifiers_of(page)
    titles = {"curves", "finals", "differences", "rungs", "samples", "runs"}
    assert titles <= identifiers


def test_one_run_is_a_page_of_its_own() -> None:
    html = render(comparison(entry()))
    assert "One run: tiny, pretrain" in html and "against the best" not in html


def test_how_many_runs_there_are_is_said_once_though_nothing_can_be_ranked() -> None:
    no_loss = Columns(columns().steps, {"loss": columns().values["loss"], "save_seconds": columns().values["loss"]})
    html = render(comparison(*(entry(lr, columns=no_loss) for lr in ("0.001", "0.01", "0.1"))))
    assert html.count("<dt>runs</dt>") == 1 and html.count("<dt>configs</dt>") == 1
    assert "Time to save a checkpoint" in html


def test_the_tables_say_what_the_curves_cannot() -> None:
    html = render(full())
    text = "".join(Page(html).texts)
    for words in ("humaneval", "−3.0 (−5.0 to −1.0) %", "p = 0.01", "data.seq_len", "The same everywhere: 2 keys"):
        assert words in text
    many = render(comparison(*seeded({str(i): [float(i)] for i in range(1, 30)})))
    assert "29" in "".join(Page(many).texts) and "1 · 2 · 3" in many
