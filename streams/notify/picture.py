"""A chart as PNG: the orders of a series, the band of what is expected, and the incident's span."""

from __future__ import annotations

import io
import warnings
from datetime import UTC

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from streams.index.panes import DAY_MS
from streams.index.shown_text import one_line
from streams.notify.chart_data import ChartData, Points
from streams.notify.composing import Lasting

GAP_MS = 150_000
"""Without a point for longer, the line is broken, not bridged; as on the page."""
_WIDTH, _HEIGHT, _DPI = 8.0, 3.2, 110
_LINE, _BAND, _SPAN = "#1f5fbf", "#9db8de", "#d9534f"
TITLE_MAX = 80


def draw(data: ChartData, title: str, span: Lasting, now_ms: int) -> bytes:
    """Draw a chart. It takes 0.1 to 0.3 s of a processor: call it in a thread.

    ``title`` may hold any text: nothing in it is read as a formula.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scale = 100.0 if data.is_share else 1.0
    bounds = sorted(data.lower.keys() & data.upper.keys())
    if bounds:
        axes.fill_between(
            [_at(ms) for ms in bounds],
            [scale * data.lower[ms] for ms in bounds],
            [scale * data.upper[ms] for ms in bounds],
            color=_BAND,
            alpha=0.5,
            linewidth=0,
            label="expected, 95 % of counts",
        )
    elif data.expected:
        axes.plot(*_line(data.expected, scale), color=_BAND, label="expected")
    axes.plot(*_line(data.values, scale), color=_LINE, linewidth=1.6, label=_counted(data))
    if span.began_ms is not None:
        ended_ms = now_ms if span.ended_ms is None else span.ended_ms
        axes.axvspan(_at(span.began_ms), _at(ended_ms), color=_SPAN, alpha=0.12, label="incident")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.set_title(one_line(title, TITLE_MAX), loc="left", fontsize=11, parse_math=False)
    axes.grid(visible=True, axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    concise = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(concise)
    axes.set_xlabel("UTC", fontsize=8)
    unit = "{:,.0f} %" if data.is_share else "{:,.0f}"
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: unit.format(value)))
    axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=3)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # a character that no font has is drawn as a box
        figure.savefig(out, format="png")
    return out.getvalue()


def _at(ms: int) -> float:
    """An instant as matplotlib has it: days since 1970."""
    return ms / DAY_MS


def _line(points: Points, scale: float) -> tuple[list[float], list[float]]:
    times, values = list[float](), list[float]()
    before: int | None = None
    for ms in sorted(points):
        if before is not None and ms - before > GAP_MS:
            times.append(_at(before + 1))
            values.append(float("nan"))
        times.append(_at(ms))
        values.append(scale * points[ms])
        before = ms
    return times, values


def _counted(data: ChartData) -> str:
    if data.series[0] == "payment_method":
        return "chosen by, of orders in 5 minutes"
    if data.series[0] == "payment_failure":
        return "failed, of payments in 5 minutes"
    return "orders in 5 minutes"
