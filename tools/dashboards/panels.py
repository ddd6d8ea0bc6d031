"""The few kinds of panels that the dashboards use, all on the provisioned data source."""

from __future__ import annotations

import string
from collections.abc import Sequence

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    statushistory,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="ecindex-prometheus")
"""The data source, as named in config/grafana/provisioning/datasources/prometheus.yml."""

Query = tuple[str, str]
"""PromQL and the legend."""

WIDTH = 24
"""Number of columns of a dashboard."""


def thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colour from each value on. The first value is None: its colour begins below all others."""
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def number(  # noqa: D103 - its name says it
    title: str,
    expr: str,
    *,
    unit: str = "short",
    description: str = "",
    levels: dashboard.ThresholdsConfig | None = None,
    width: int = 4,
    decimals: float | None = None,
) -> stat.Panel:
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(4)
        .unit(unit)
        .no_value("unknown")
        .thresholds(levels or thresholds((None, "text")))
        .with_target(_target((expr, title), instant=True))
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    queries: Sequence[Query],
    *,
    unit: str = "short",
    description: str = "",
    width: int = 12,
    stacked: bool = False,
    band: tuple[str, str] | None = None,
) -> timeseries.Panel:
    """Lines over time. ``band``: legends of its lower and upper bound, filled between."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(8)
        .unit(unit)
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel.fill_opacity(60).stacking(
            common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")
        )
    if band is not None:
        lower, upper = band
        no_line = models.DynamicConfigValue(id_val="custom.lineWidth", value=0)
        panel.override_by_name(lower, [no_line])
        panel.override_by_name(
            upper,
            [
                no_line,
                models.DynamicConfigValue(id_val="custom.fillBelowTo", value=lower),
                models.DynamicConfigValue(id_val="custom.fillOpacity", value=15),
            ],
        )
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place))
    return panel


def ranks(
    title: str, query: Query, *, description: str = "", unit: str = "short"
) -> bargauge.Panel:
    """Bars of the current values, one for each series."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(8)
        .unit(unit)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .thresholds(thresholds((None, "blue")))
        .with_target(_target(query, instant=True))
    )


def heat(
    title: str,
    query: Query,
    levels: dashboard.ThresholdsConfig,
    *,
    unit: str,
    description: str = "",
) -> statushistory.Panel:
    """Rows of coloured cells over time, one for each series."""
    return (
        statushistory.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(9)
        .unit(unit)
        .max_data_points(60)
        .show_value(common_models.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(levels)
        .with_target(_target(query))
    )


def states(
    title: str,
    queries: Sequence[Query],
    levels: dashboard.ThresholdsConfig,
    *,
    description: str = "",
) -> statetimeline.Panel:
    """Timeline of the state of each series."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(9)
        .show_value(common_models.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(levels)
    )
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place))
    return panel


def choice(
    name: str, label: str, query: str, *, first: str | None = None
) -> dashboard.QueryVariable:
    """A variable with the values that ``query`` (label_values) finds."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if first is not None:
        variable.current(models.VariableOption(text=first, value=first))
    return variable


def titled(title: str, uid: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with our defaults."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["ecindex"])
        .timezone("browser")
        .refresh("5s")
        .time("now-30m", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("The other dashboard")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["ecindex"])
            .keep_time(keep_time=True)
        )
    )


def _target(query: Query, place: int = 0, *, instant: bool = False) -> prometheus.Dataquery:
    expr, legend = query
    target = prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend)
    target.ref_id(string.ascii_uppercase[place])
    return target.instant() if instant else target.range()
