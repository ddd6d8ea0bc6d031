"""A picture of a rehearsal: each market's orders by the hour, what was expected, and each page."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from streams.console.errors import OperationError
from streams.index.indices import MARKET
from streams.index.methodology import Methodology
from streams.index.shown_sizes import count_words
from streams.rehearsal.command import Rehearsal
from streams.rehearsal.rehearse import RehearsedMarket, alarms

SUFFIXES = (".svg", ".png")
_INCHES, _MARKET_INCHES = 12.0, 3.0
_UP, _DOWN = "#b3261e", "#1f5fbf"


def check_picture(path: Path) -> None:
    """Refuse, before the work, a picture that could not be written. Raises OperationError."""
    if path.suffix not in SUFFIXES:
        raise OperationError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise OperationError(f"{path}: the directory {path.parent} does not exist")
    if find_spec("matplotlib") is None:  # an extra: most installations draw nothing
        raise OperationError("a picture needs matplotlib: pip install 'ecindex[charts]'")


def draw(rehearsal: Rehearsal, methodology: Methodology, path: Path) -> None:
    """Write the picture of the present rules; SVG or PNG by the name of the file."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    shown = [results[0] for results in rehearsal.markets.values()]
    figure = Figure(figsize=(_INCHES, _MARKET_INCHES * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), squeeze=False)[:, 0]
    for axis, one in zip(axes, shown, strict=True):
        _draw_market(axis, one, ZoneInfo(methodology.markets[one.market].time_zone))
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        raise OperationError(f"{path}: {error}") from error


def _draw_market(axis: Any, one: RehearsedMarket, zone: ZoneInfo) -> None:
    def local(instant_ms: int) -> datetime:
        return datetime.fromtimestamp(instant_ms / 1_000, UTC).astimezone(zone)

    times = [local(hour.start_ms) for hour in one.hours]
    expected = [float("nan") if hour.expected is None else hour.expected for hour in one.hours]
    axis.plot(times, [hour.orders for hour in one.hours], lw=0.8, color="#444444", label="orders")
    axis.plot(times, expected, lw=0.8, color="#2e7d32", alpha=0.7, label="expected")
    for alarm in alarms(one.pages):
        page = alarm.first
        color = _UP if page.shift.direction > 0 else _DOWN
        if page.shift.dimension == MARKET:
            until_ms = min(page.over_ms or one.until_ms, one.until_ms)
            axis.axvspan(local(page.started_ms), local(until_ms), color=color, alpha=0.15, lw=0)
        axis.axvline(local(page.paged_ms), color=color, lw=1.0)
    axis.set_title(
        f"{one.market}: {count_words(len(one.pages), 'pages')} in {one.days:.0f} days", loc="left"
    )
    axis.set_ylabel("orders an hour")
    axis.set_ylim(bottom=0)
    axis.xaxis_date(tz=zone)
    axis.legend(loc="upper right", frameon=False, ncols=2)
