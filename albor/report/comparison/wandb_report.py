"""The comparison as a Weights & Biases report: the runs' own panels there, and what was worked out here as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from albor.errors import AlborError
from albor.report.comparison.figures import LOSS
from albor.report.comparison.grouping import is_seed
from albor.report.comparison.model import Entry
from albor.report.comparison.payload import TITLES, chart_keys
from albor.report.comparison.table import markdown
from albor.report.comparison.whole import Comparison

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report

PANELS = 12
TITLE = 128
"""Characters that W&B allows a title."""
URL = "https://wandb.ai"
WIDE, HIGH, ACROSS = 12, 8, 24
"""Of a panel, and of the grid, in W&B's units."""


def report(comparison: Comparison, *, online: bool) -> Report:
    """The report, not yet saved. Its runs are found by their ids, which are W&B's ids too; where the runs name no
    entity it is the user's own, which W&B must be asked for. Raises AlborError when wandb-workspaces is not installed,
    or runs of several W&B projects are compared."""
    wr = _workspaces()
    project, entity = _place(comparison.entries)
    # No project: the report's own. Naming one would be looked up, which needs the network.
    runs = wr.Runset(
        name=comparison.name,
        filters=f"Metric('ID') in {json.dumps([entry.id for entry in comparison.entries])}",
        groupby=_grouping(comparison),
    )
    parts: list[Any] = [
        wr.H1("Curves"),
        wr.PanelGrid(runsets=[runs], panels=_curves(wr, comparison)),
        wr.H1("What differs"),
        wr.PanelGrid(runsets=[runs], panels=_differences(wr, comparison)),
        wr.H1("Finals"),
        wr.MarkdownBlock(markdown(comparison)),
        wr.H1("Runs"),
        wr.MarkdownBlock("\n".join(_links(comparison, entity, project))),
    ]
    return wr.Report(
        project=project,
        **({} if online and not entity else {"entity": entity}),
        title=f"{comparison.title}: {comparison.name}"[:TITLE],
        description=comparison.headline,
        blocks=parts,
        width="fluid",
    )


def serialised(made: Report) -> str:
    """The report as W&B keeps it."""
    return json.dumps(made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True), indent=1) + "\n"


def save(made: Report) -> str:
    """Sends it to W&B; gives its address."""
    made.save()
    return str(made.url)


def _workspaces() -> Any:
    try:
        import wandb_workspaces.reports.v2 as reports
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "wandb_workspaces":
            raise
        cause = "a W&B report needs the package wandb-workspaces"
        raise AlborError(cause, "pip install 'albor[report]'", place="--wandb") from None
    return reports


def _place(entries: Sequence[Entry]) -> tuple[str, str]:
    """(project, entity) that the runs were logged to."""
    places = dict.fromkeys(entry.tracking for entry in entries)
    if len(places) > 1:
        listed = ", ".join("/".join(filter(None, reversed(place))) for place in places)
        raise AlborError(f"the runs are of several W&B projects: {listed}", "compare those of one", place="--wandb")
    ((project, entity),) = places
    return project, entity


def _grouping(comparison: Comparison) -> list[str]:
    """The keys by which W&B puts the seeds of a config together; none where every config has one run."""
    keys = [key for key in comparison.keys if not is_seed(key) and not key.startswith("up.") and " " not in key]
    return [f"config.{key}" for key in keys] if len(comparison.groups) < len(comparison.entries) else []


def _curves(wr: Any, comparison: Comparison) -> list[Any]:
    keys, _ = chart_keys(comparison.entries)
    panels = []
    for place, key in enumerate(keys[:PANELS]):
        title, unit = TITLES.get(key, (key, ""))
        panels.append(
            wr.LinePlot(
                title=f"{title}, {unit}" if unit else title,
                x="tokens",
                y=[key],
                title_x="tokens",
                smoothing_type="exponential",
                smoothing_factor=0.0 if key.startswith("val_") or key == "lr" else 0.6,
                smoothing_show_original=True,
                groupby_aggfunc="mean",
                groupby_rangefunc="minmax",
                layout=_box(wr, place),
            )
        )
    return panels


def _differences(wr: Any, comparison: Comparison) -> list[Any]:
    panels: list[Any] = [wr.RunComparer(diff_only=True, layout=wr.Layout(x=0, y=0, w=ACROSS, h=10))]
    keys = [key for key in comparison.keys if not key.startswith("up.") and " " not in key][:5]
    figure = comparison.ranking.figure.key if comparison.ranking.figure else LOSS
    if keys and figure == LOSS:
        columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(key)) for key in keys]
        columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(LOSS)))
        panels.append(wr.ParallelCoordinatesPlot(columns=columns, layout=wr.Layout(x=0, y=10, w=ACROSS, h=HIGH)))
    return panels


def _box(wr: Any, place: int) -> Any:
    return wr.Layout(x=WIDE * (place % 2), y=HIGH * (place // 2), w=WIDE, h=HIGH)


def _links(comparison: Comparison, entity: str, project: str) -> list[str]:
    """Each run with its page, its artifacts and its command."""
    base = f"{URL}/{entity or 'ENTITY'}/{project}"
    lines = []
    for entry in comparison.entries:
        run = f"{base}/runs/{entry.id}"
        lines.append(f"- [{entry.stage}/{entry.id}]({run}): {entry.status}; [artifacts and lineage]({run}/artifacts)")
    return lines
