"""The page: everything about one run in one file that needs nothing else."""

from __future__ import annotations

from albor.report.formats import ABSENT, duration, fact, flatten, moment, number, short
from albor.report.highlight import highlight
from albor.report.lineage import draw
from albor.report.metrics import CHARTS, chart_keys, payload, split, summary
from albor.report.model import Headline, Report
from albor.report.scale import perplexity_scale
from albor.report.shell import Tile, document, embed

STATUSES = ("done", "failed", "interrupted", "running")
MEANINGS = {
    "val_loss": "mean token cross-entropy, nats",
    "val_ppl": "exp(val_loss)",
    "bits_per_byte": "compares across tokenizers",
    "byte_ppl": "2 to the power of bits per byte",
    "tokens": "evaluated",
    "bytes": "evaluated",
}


def render(report: Report) -> str:
    """The report as one HTML document: no external asset, no network, and no script but its own.

    Whatever the data holds is shown as text: markup is escaped, the embedded JSON cannot end its element, and the
    page's content security policy admits the page's own scripts by their hash only.
    """
    train, val = split(report.metrics)
    return document(
        "page.html.j2",
        styles=("parts.css", "charts.css", "page.css"),
        scripts=("series.js", "plot.js", "chart.js", "parts.js", "page.js"),
        report=report,
        status=report.status if report.status in STATUSES else "other",
        started=moment(report.started),
        finished=moment(report.finished),
        hero=_hero(report.headline),
        figures=_tiles(report.headline),
        scale=perplexity_scale(report.headline),
        charts=_charts(report) if train or val else [],
        rows=(len(train), len(val)),
        evaluation=[(key, fact(value), MEANINGS.get(key, "")) for key, value in report.evaluation.items()],
        scores=report.scores,
        samples=[highlight(prompt, completion) for prompt, completion in report.samples],
        config=list(flatten(report.config)),
        graph=draw(report.lineage, report.run_id),
        data=embed({"runs": [payload(report.run_id, report.metrics)]}),
    )


def _charts(report: Report) -> list[dict[str, str]]:
    """The charts to draw, each with its text alternative; of the known four those that nothing was logged for too."""
    charts = []
    for key in chart_keys(split(report.metrics)[0]):
        title, unit = CHARTS.get(key, (key.replace("_", " "), ""))
        charts.append({"key": key, "title": title, "unit": unit, "summary": summary(key, report.metrics)})
    return charts


def _hero(headline: Headline) -> Tile:
    before, after = headline.val_ppl_before, headline.val_ppl_after
    if after is None:
        return Tile("validation perplexity", ABSENT, "not measured")
    return Tile("validation perplexity", number(after), f"from {number(before)} before training" if before else "")


def _tiles(headline: Headline) -> list[Tile]:
    steps = headline.steps
    planned = f"of {headline.planned_steps:,} planned" if headline.planned_steps not in (None, steps) else ""
    tiles = [
        (headline.bits_per_byte, Tile("bits per byte", number(headline.bits_per_byte), "compares across tokenizers")),
        (headline.parameters, Tile("parameters", short(headline.parameters), _exact(headline.parameters))),
        (headline.tokens, Tile("tokens", short(headline.tokens), _per_parameter(headline))),
        (steps, Tile("steps", number(steps), planned)),
        (headline.tokens_per_second, Tile("tokens per second", short(headline.tokens_per_second))),
        (headline.seconds, Tile("duration", duration(headline.seconds))),
    ]
    return [tile for value, tile in tiles if value is not None]


def _exact(value: int | None) -> str:
    return f"{value:,}" if value is not None and value >= 10_000 else ""


def _per_parameter(headline: Headline) -> str:
    if not headline.tokens or not headline.parameters:
        return _exact(headline.tokens)
    return f"{number(headline.tokens / headline.parameters, 3)} per parameter"
