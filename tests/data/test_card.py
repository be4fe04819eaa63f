"""The data card: its JSON, its provenance page, its HTML."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest

from albor.data.card import DataCard, Lengths, Shard, SourceRow, StepRow
from albor.data.errors import DataError
from albor.data.provenance import provenance, text
from albor.report.data_card import TOP, card_page, percent
from albor.report.formats import size
from tests.data.card_example import HELD_OUT, NAMES, card, empty_card, sha, thin_card
from tests.report.test_report_page import HOSTILE, Page

CARDS = {"whole": card(), "thin": thin_card(), "long": thin_card("long-name-" * 20), "empty": empty_card()}


def hostile_card() -> DataCard:
    row = SourceRow(
        source=HOSTILE, package=HOSTILE, version=HOSTILE, licence=HOSTILE, split="train", documents=1, bytes=9, tokens=3
    )
    step = StepRow(name=HOSTILE, taken=2, kept=1, rejected={HOSTILE: 1}, bytes_taken=2, bytes_kept=1)
    return card(
        name=HOSTILE,
        tokenizer=HOSTILE,
        inputs={HOSTILE: HOSTILE},
        sources=[row, replace(row, split="val"), replace(row, split=HOSTILE)],
        steps=[step],
        shards=[Shard(file=HOSTILE, sha256=sha("x"), rows=1, tokens=1, bytes=1)],
        facts={HOSTILE: HOSTILE, "fill": 1.0},
    )


@pytest.mark.parametrize("made", CARDS.values(), ids=CARDS)
def test_a_card_is_json_and_comes_back(made: DataCard) -> None:
    assert DataCard.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {},
        {**card().to_json(), "extra": 1},
        {**card().to_json(), "sources": [{"source": "s"}]},
        {**card().to_json(), "lengths": []},
        {**card().to_json(), "steps": 3},
    ],
)
def test_what_is_no_card_is_refused(broken: object) -> None:
    with pytest.raises(DataError) as caught:
        DataCard.from_json(broken)
    assert caught.value.help


def test_provenance_depends_on_the_content_only() -> None:
    made, rng = card(), random.Random(1)
    mixed = replace(
        made,
        sources=rng.sample(made.sources, len(made.sources)),
        shards=made.shards[::-1],
        inputs=dict(reversed(made.inputs.items())),
        facts={"mb_per_second/tokenize": rng.random(), **dict(reversed(made.facts.items()))},
    )
    assert provenance(mixed) == provenance(made)


def test_provenance_names_everything() -> None:
    made = card()
    page = provenance(made)
    for words in (*NAMES, *HELD_OUT, *(s.sha256 for s in made.shards), *made.inputs.values(), made.tokenizer):
        assert words in page
    for step in made.steps:
        assert f"| {step.name} | {step.taken:,} | {step.kept:,} |" in page
        assert all(f"{reason} {count:,}" in page for reason, count in step.rejected.items())
    for licence in {r.licence for r in made.sources}:
        part = [r for r in made.sources if r.licence == licence and r.split == "train"]
        files, tokens = sum(r.documents for r in part), sum(r.tokens for r in part)
        assert not part or re.search(rf"\| {licence} \| train \| \d+ \| {files:,} \| [\d,]+ \| {tokens:,} \|", page)
    tokens = sum(r.tokens for r in made.sources if r.split == "train")
    assert re.search(rf"\| train \| {len(NAMES)} \| [\d,]+ \| [\d,]+ \| {tokens:,} \|", page)


@pytest.mark.parametrize(
    "name", ["a|b", "<b>x</b>", "`x`", "[x](http://x)", "*x*", "__x__", "&lt;", "x\ny", "x\u202ey", HOSTILE]
)
def test_names_are_shown_as_they_are(name: str) -> None:
    """Every table of the page keeps its shape: as many cells in each line as in its head."""
    row = SourceRow(source=name, package=name, version=name, licence=name, split="train", documents=1, bytes=1)
    page = provenance(card(name=name, tokenizer=name, sources=[row], inputs={name: name}))
    assert "<b>" not in page and not re.search(r"(?<!\\)\]\(", page) and "`" not in page.replace("\\`", "")
    bars = 0
    for line in page.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert not line.startswith("|") or not bars or cells == bars
        bars = cells if line.startswith("|") else 0
    assert text("near_dedup") == "near_dedup"


@pytest.mark.parametrize("made", [*CARDS.values(), hostile_card()], ids=[*CARDS, "hostile"])
def test_the_page_is_one_file_and_every_section_named(made: DataCard) -> None:
    html = card_page(made)
    assert card_page(made) == html
    page = Page(html)
    assert page.tags().count("script") == page.tags().count("h1") == 1 and "img" not in page.tags()
    assert "<!--" not in html and "http://" not in html and "https://" not in html and "@import" not in html
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for tag, attributes in page.elements:
        assert not {"src", "srcset"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
        assert tag != "section" or "aria-labelledby" in attributes
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in page.elements:
        assert (attributes.get("href") or "#main").removeprefix("#") in ("", "data:,", *identifiers)


def test_the_page_shows_every_package_and_the_largest_as_bars() -> None:
    made = card()
    page = Page(card_page(made))
    words = " ".join(page.texts)
    assert all(name in words for name in (*NAMES, *HELD_OUT))
    assert f"{len(NAMES) - TOP} more packages" in words and "12 held out" in words
    styles = [str(attributes.get("style")) for tag, attributes in page.elements if tag == "span"]
    widths = [float(found.group(1)) for style in styles if (found := re.match(r"width: ([\d.]+)%", style))]
    assert max(widths) == 100 and all(0 <= w <= 100 for w in widths)


def test_the_middle_document_is_between_its_bins_edges() -> None:
    lengths = Lengths(edges=[32, 64, 128], train=[1, 3, 1], val=[0, 0, 0])
    assert "between 64 and 128 characters" in card_page(card(lengths=lengths))
    assert "at least 128 characters" in card_page(card(lengths=replace(lengths, train=[1, 0, 5])))


def test_the_page_of_many_packages_stays_light() -> None:
    row = card().sources[0]
    many = [replace(row, package=f"p{i}", tokens=i) for i in range(5_000)]
    html = card_page(card(sources=many))
    assert len(html) < 1_000_000 and "and 3,000 more rows in card.json" in html and ">p4999<" in html


def test_numbers_for_readers() -> None:
    assert [size(n) for n in (0, 999, 1_000, 34_000_000, 340_000_000, 2 * 10**9)] == [
        "0 B", "999 B", "1.0 kB", "34.0 MB", "340 MB", "2.0 GB"]  # fmt: skip
    assert [percent(*pair) for pair in ((0, 0), (0, 5), (1, 100_000), (5, 5), (99_999, 100_000), (1, 8))] == [
        "0%", "0%", "<0.1%", "100%", "99.9%", "12.5%"]  # fmt: skip
