"""What the picture of a message shows: a series over the last hours, from Prometheus.

Redis has hours of the market's own orders only, and no band with them; the page knows what it has seen
while it ran. Prometheus has members and bands for as long as it keeps anything (decision 0341).
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import aiohttp
import msgspec

from streams.index.formats import json_reader
from streams.index.shown_text import one_line
from streams.notify.market_now import Series
from streams.notify.posting import new_session

READ_S = 2.0
"""A message does not wait longer for its picture's numbers."""
SHOWN_MS = 3 * 3_600_000
BEFORE_MS = 3_600_000
"""What is shown of the time before an incident that began longer ago."""
SHOWN_MAX_MS = 26 * 3_600_000
POINTS_MAX = 240
STEP_MIN_S = 15
BYTES_MAX = 4 * 1024 * 1024
WINDOW = "5m"

_METRICS = {
    "market": (
        "market_window:ecindex_market_orders:max",
        "market_window:ecindex_market_orders_expected:max",
        "market_window_bound:ecindex_market_orders_band:max",
    ),
    "category": (
        "market_category_window:ecindex_orders:max",
        "market_category_window:ecindex_orders_expected:max",
        "market_category_window_bound:ecindex_orders_band:max",
    ),
    "region": (
        "market_region_window:ecindex_region_orders:max",
        "market_region_window:ecindex_region_orders_expected:max",
    ),
    "payment_method": ("market_method_window_by:ecindex_payment_share_ratio:max",),
    "payment_failure": ("market_method_window:ecindex_payment_failure_ratio:max",),
}
"""By dimension: what is counted, what is expected, and the band, as far as each is recorded."""
_MEMBER_LABELS = {
    "category": "category",
    "region": "region",
    "payment_method": "method",
    "payment_failure": "method",
}
_SHARES = {"payment_method", "payment_failure"}
Points = dict[int, float]
"""Value by UTC epoch ms."""


class NoChartError(RuntimeError):
    """There is no picture. The text says why, and whose setting would change it."""


class ChartData(NamedTuple):
    """A series over time. ``expected`` and the bounds are empty where none are recorded."""

    series: Series
    values: Points
    expected: Points
    lower: Points
    upper: Points
    is_share: bool
    """True for parts of a whole, which are drawn in percent."""


class _Range(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Result(msgspec.Struct):
    result: list[_Range]


class _Answer(msgspec.Struct):
    data: _Result


_decode = json_reader(_Answer)


def query(market: str, series: Series) -> str:
    """One expression for all lines of a series. Raises NoChartError for one that is not recorded.

    >>> query("PK", ("payment_failure", "card"))[:66]
    '{__name__=~"market_method_window:ecindex_payment_failure_ratio:max'
    """
    dimension, member = series
    if dimension not in _METRICS:
        raise NoChartError(f"no metric has the orders of a {one_line(dimension, 40)}")
    labels = {"market": market, "window": WINDOW}
    if dimension in _MEMBER_LABELS:
        labels[_MEMBER_LABELS[dimension]] = member
    if dimension == "payment_method":
        labels["by"] = "chosen"
    matchers = [f'__name__=~"{"|".join(_METRICS[dimension])}"']
    matchers += [f"{name}={_quoted(value)}" for name, value in labels.items()]
    return "{" + ",".join(matchers) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def shown_span(began_ms: int | None, now_ms: int) -> tuple[int, int]:
    """(from, to) of a picture: the last hours, and an hour before the beginning."""
    start = now_ms - SHOWN_MS
    if began_ms is not None:
        start = min(start, began_ms - BEFORE_MS)
    return max(start, now_ms - SHOWN_MAX_MS), now_ms


def chart_data(series: Series, body: bytes) -> ChartData:
    """Decode an answer of Prometheus. Raises NoChartError when it has no value of the series."""
    try:
        ranges = _decode(body).data.result
    except msgspec.DecodeError as error:
        raise NoChartError(
            f"Prometheus' answer is none (notify.prometheus_url): {error}"
        ) from error
    found: dict[str, Points] = {"values": {}, "expected": {}, "lower": {}, "upper": {}}
    for each in ranges:
        name = each.metric.get("__name__", "")
        if "bound" in each.metric:
            kind = each.metric["bound"]
        else:
            kind = "expected" if "_expected:" in name else "values"
        found.setdefault(kind, {}).update(
            {int(at_s * 1000): float(value) for at_s, value in each.values}
        )
    if not found["values"]:
        raise NoChartError("Prometheus has no value of it in these hours")
    return ChartData(
        series,
        found["values"],
        found["expected"],
        found["lower"],
        found["upper"],
        series[0] in _SHARES,
    )


class ChartReader:
    """Asks one Prometheus. ``address`` None: nobody has set it."""

    def __init__(self, address: str | None) -> None:
        self._address = None if address is None else address.rstrip("/")
        self._session = new_session()

    async def read(
        self, market: str, series: Series, began_ms: int | None, now_ms: int
    ) -> ChartData:
        """Read a series within READ_S. Raises NoChartError, whatever the reason."""
        if self._address is None:
            raise NoChartError("notify.prometheus_url is not set")
        start_ms, end_ms = shown_span(began_ms, now_ms)
        step_s = max(STEP_MIN_S, -(-(end_ms - start_ms) // (1000 * POINTS_MAX)))
        asked: dict[str, Any] = {
            "query": query(market, series),
            "start": start_ms / 1000,
            "end": end_ms / 1000,
            "step": step_s,
        }
        try:
            async with (
                asyncio.timeout(READ_S),
                self._session.post(
                    f"{self._address}/api/v1/query_range", data=asked, allow_redirects=False
                ) as answer,
            ):
                body = await answer.content.read(BYTES_MAX)
                while more := await answer.content.read(BYTES_MAX):
                    body += more
                    if len(body) > BYTES_MAX:
                        raise NoChartError("Prometheus' answer is too long (notify.prometheus_url)")
                status = answer.status
        except TimeoutError as error:
            raise NoChartError(
                f"Prometheus has not answered within {READ_S:.0f} s (notify.prometheus_url)"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            words = one_line(str(error), 200) or type(error).__name__
            raise NoChartError(
                f"Prometheus does not answer (notify.prometheus_url): {words}"
            ) from error
        if status != 200:  # noqa: PLR2004 - as HTTP has it
            raise NoChartError(f"Prometheus answered {status} (notify.prometheus_url)")
        return chart_data(series, body)

    async def close(self) -> None:
        """Close connections."""
        await self._session.close()
