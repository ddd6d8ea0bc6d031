"""The few kinds of panels that the dashboards use, all on the data source that the reader chooses.

A panel has a description, a legend for each series, and a limit to the series that it draws: a market
may have hundreds of members, and a scrape has the 40 largest of each dimension.
"""

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

PROVISIONED = "ecindex-prometheus"
"""The data source that is chosen at first, by its uid in config/grafana/provisioning/datasources/."""
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

Query = tuple[str, str]
"""PromQL and the legend."""

WIDTH = 24
"""Number of columns of a dashboard."""
LINES_MAX = 12
"""More lines than this cannot be told apart."""
ROWS_MAX = 20
"""Rows of coloured cells that fit a panel."""
LINKS = "board_grafana_runbook:ecindex_links_info:last"
"""The settings ``links.*``, as labels."""
RUNBOOK = "${runbook}"


def thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colour from each value on. The first value is None: its colour begins below all others."""
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def largest(expr: str, member: str, by: str | None = None, count: int = LINES_MAX) -> str:
    """Series of ``expr`` of the ``count`` members that are largest at the end of the time shown.

    A bare topk chooses anew at each point in time, so lines would come and go. ``by``: the selector that
    says how large a member is, if it is not ``expr`` itself.
    """
    return f"{expr} and on ({member}) topk({count}, {by or expr} @ end())"


def link(title: str, url: str, *, away: bool = False) -> dashboard.DashboardLink:
    """A link of a panel or of its values. ``away``: it leaves Grafana, so it opens another tab."""
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(url)
        .target_blank(away)
    )


def to_alert(name: str) -> dashboard.DashboardLink:
    """The runbook's entry of an alert. It leads nowhere while ``links.runbook`` is not set."""
    return link(f"Runbook: {name}", f"{RUNBOOK}#{name.lower()}", away=True)


def _stat(title: str, description: str, width: int) -> stat.Panel:
    panel = stat.Panel().title(title).description(description)
    return panel.datasource(SOURCE).span(width).height(4)


def number(
    title: str,
    expr: str,
    description: str,
    *,
    unit: str = "short",
    levels: dashboard.ThresholdsConfig | None = None,
    width: int = 4,
    decimals: float | None = None,
    alerts: Sequence[str] = (),
) -> stat.Panel:
    """The current value. ``alerts``: those that judge it; the panel links to their instructions."""
    panel = (
        _stat(title, description, width)
        .unit(unit)
        .no_value("unknown")
        .thresholds(levels or thresholds((None, "text")))
        .links([to_alert(name) for name in alerts])
        .with_target(_target((expr, title), instant=True))
    )
    return panel if decimals is None else panel.decimals(decimals)


def names(
    title: str, queries: Sequence[Query], description: str, links: Sequence[str], *, width: int
) -> stat.Panel:
    """Names to click on: the legend of each query, with the link of the same place."""
    panel = (
        _stat(title, description, width)
        .unit("none")
        .no_value("not set")
        .text_mode(common_models.BigValueTextMode.NAME)
        .color_mode(common_models.BigValueColorMode.NONE)
    )
    for place, (query, url) in enumerate(zip(queries, links, strict=True)):
        panel.with_target(_target(query, place, instant=True))
        shown = [{"title": query[1], "url": url, "targetBlank": True}]
        panel.override_by_query(
            string.ascii_uppercase[place], [models.DynamicConfigValue(id_val="links", value=shown)]
        )
    return panel


def lines(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    band: tuple[str, str] | None = None,
    many: bool = False,
    alerts: Sequence[str] = (),
) -> timeseries.Panel:
    """Lines over time, with the last, least and largest value of each in the legend.

    ``band``: legends of its lower and upper bound, filled between. ``many``: the legend has a line for
    each of many members, so it stands beside the chart.
    """
    place = common_models.LegendPlacement.RIGHT if many else common_models.LegendPlacement.BOTTOM
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(width)
        .height(9)
        .unit(unit)
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .legend(
            _legend(place)
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .calcs(["lastNotNull"] if many else ["lastNotNull", "min", "max"])
        )
        .links([to_alert(name) for name in alerts])
    )
    if stacked:
        panel.fill_opacity(60).stacking(
            common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")
        )
    if band is not None:
        lower, upper = band
        no_line = models.DynamicConfigValue(id_val="custom.lineWidth", value=0)
        blue = models.DynamicConfigValue(
            id_val="color", value={"mode": "fixed", "fixedColor": "light-blue"}
        )
        panel.override_by_name(lower, [no_line, blue])
        panel.override_by_name(
            upper,
            [
                no_line,
                blue,
                models.DynamicConfigValue(id_val="custom.fillBelowTo", value=lower),
                models.DynamicConfigValue(id_val="custom.fillOpacity", value=15),
            ],
        )
    for place_of, query in enumerate(queries):
        panel.with_target(_target(query, place_of))
    return panel


def ranks(
    title: str, query: Query, description: str, *, to: str, unit: str = "short"
) -> bargauge.Panel:
    """Bars of the current values, one for each series. ``to``: address that a bar links to."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(9)
        .unit(unit)
        .no_value("none")
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .thresholds(thresholds((None, "blue")))
        .data_links([link("Against its expectation", to)])
        .with_target(_target(query, instant=True))
    )


def heat(
    title: str,
    query: Query,
    description: str,
    levels: dashboard.ThresholdsConfig,
    *,
    unit: str,
) -> statushistory.Panel:
    """Rows of coloured cells over time, one for each series. The legend explains the colours."""
    return (
        statushistory.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(11)
        .unit(unit)
        .max_data_points(60)
        .show_value(common_models.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(levels)
        .legend(_legend(common_models.LegendPlacement.BOTTOM))
        .with_target(_target(query))
    )


def states(
    title: str,
    queries: Sequence[Query],
    description: str,
    levels: dashboard.ThresholdsConfig,
    *,
    alerts: Sequence[str] = (),
) -> statetimeline.Panel:
    """Timeline of the state of each series."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(11)
        .unit("short")
        .no_value("none")
        .show_value(common_models.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(levels)
        .legend(_legend(common_models.LegendPlacement.BOTTOM))
        .links([to_alert(name) for name in alerts])
    )
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place))
    return panel


def choice(
    name: str, label: str, query: str, *, first: str | None = None, several: bool = False
) -> dashboard.QueryVariable:
    """A variable with the values that ``query`` (label_values) finds. ``several``: all, or some."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        variable.multi(multi=True).include_all(include_all=True).all_value(".+")
        variable.current(models.VariableOption(text=["All"], value=["$__all"]))
    if first is not None:
        variable.current(models.VariableOption(text=first, value=first))
    return variable


def unseen(name: str, query: str) -> dashboard.QueryVariable:
    """A variable that the reader does not choose: one of the panels' titles or links."""
    return choice(name, name, query).hide(models.VariableHide.HIDE_VARIABLE)


class _FormattedMarks(models.AnnotationQuery):
    """The data source knows formats of marks; the SDK does not."""

    def __init__(self, formats: dict[str, str]) -> None:
        super().__init__()
        self._formats = formats

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self._formats}


class Marks(dashboard.AnnotationQuery):
    """Marks on every chart; their titles and texts are made of the labels of the series.

    ``at_value``: the value of a series, in ms, is the time of its mark.
    """

    def __init__(
        self, name: str, expr: str, *, title: str, text: str, color: str, at_value: bool = False
    ) -> None:
        formats = {"titleFormat": title, "textFormat": text}
        if at_value:
            formats["useValueForTime"] = "on"
        self._internal = _FormattedMarks(formats)
        self.name(name).expr(expr).datasource(SOURCE).enable(enable=True).icon_color(color)


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
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .current(models.VariableOption(text="Prometheus", value=PROVISIONED))
        )
        .with_variable(unseen("runbook", f"label_values({LINKS}, runbook)"))
        .link(
            dashboard.DashboardLink("The other dashboard")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["ecindex"])
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
    )


def _legend(place: common_models.LegendPlacement) -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(place)
    )


def _target(query: Query, place: int = 0, *, instant: bool = False) -> prometheus.Dataquery:
    expr, legend = query
    target = prometheus.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend)
    target.ref_id(string.ascii_uppercase[place])
    return target.instant() if instant else target.range()
