"""Index series, made at scrape time from the publications of the markets that this worker owns.

No gauge is set, so none can be left behind: after ``drop`` the next scrape lacks the market. A value
that does not exist has no series, since a 0 would read as an outage and a NaN as a gap.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.samples import Sample

from streams.flow.market_incidents import incident_of
from streams.flow.publication import Publication
from streams.flow.shift_watch import SeriesStatus
from streams.index.incidents import ShiftName
from streams.index.indices import CATEGORY, METHOD
from streams.index.other_labels import ORDERS
from streams.index.panes import of_minute
from streams.index.shift_series import PAYMENT_FAILURE
from streams.index.values import WINDOWS_MS, Value
from streams.publish.metric_table import BY_NAME, INDEX
from streams.publish.ranking import ALL, Member, rank_members

MEMBERS_MAX = 40
SERIES_MAX = 8_000
"""One worker that owns the seven markets of the shipped methodology has 6,600."""
_LABELS_MAX = 5
_FIRST = -1
"""Rank before all members: of a market's own series, and of members that page."""


class _Export(NamedTuple):
    """How an index of one dimension is exported as a metric."""

    metric: str
    by: str | None = None
    of: Literal["value", "expected", "lower", "upper"] = "value"
    """Which number of the value is exported. A bound of the band also becomes the label ``bound``."""
    windows: frozenset[str] = frozenset(WINDOWS_MS)


def _band(metric: str, windows: frozenset[str] = frozenset(WINDOWS_MS)) -> tuple[_Export, ...]:
    return _Export(metric, of="lower", windows=windows), _Export(
        metric, of="upper", windows=windows
    )


_EXPORTS: dict[tuple[str, str], tuple[_Export, ...]] = {
    ("orders", "category"): (_Export("orders"),),
    ("sales", "category"): (_Export("sales_minor"),),
    ("category_share_by_orders", "category"): (_Export("category_share_ratio", "orders"),),
    ("category_share_by_sales", "category"): (_Export("category_share_ratio", "sales"),),
    ("payment_share_by_count", "payment_method"): (_Export("payment_share_ratio", "count"),),
    ("payment_share_by_amount", "payment_method"): (_Export("payment_share_ratio", "amount"),),
    ("payment_chosen_share", "payment_method"): (_Export("payment_share_ratio", "chosen"),),
    ("payment_failure_ratio", "payment_method"): (_Export("payment_failure_ratio"),),
    ("orders", "market"): (_Export("market_orders"),),
    ("sales", "market"): (_Export("market_sales_minor"),),
    ("payments", "market"): (_Export("market_payments"),),
    ("shoppers", "market"): (_Export("market_shoppers"),),
    ("demand_index_orders", "category"): (
        _Export("demand_index"),
        _Export("orders_expected", of="expected"),
        # Two series a member in each window would be a third more series than all others of it.
        *_band("orders_band", frozenset({"5m"})),
    ),
    ("orders", "region"): (_Export("region_orders"),),
    ("demand_index_orders", "region"): (
        _Export("region_demand_index"),
        _Export("region_orders_expected", of="expected"),
    ),
    ("demand_index_orders", "market"): (
        _Export("market_demand_index"),
        _Export("market_orders_expected", of="expected"),
        *_band("market_orders_band"),
    ),
    ("demand_index_sales", "market"): (
        _Export("market_sales_expected_minor", of="expected"),
        *_band("market_sales_band_minor"),
    ),
}


class _Series(NamedTuple):
    rank: int
    metric: str
    sample: Sample


class _Shown:
    """One market's publication, and its series once it was scraped."""

    __slots__ = ("members", "publication", "series")

    def __init__(self, publication: Publication, members: frozenset[Member]) -> None:
        self.publication = publication
        self.members = members
        self.series: list[_Series] | None = None


class IndexCollector:
    """Holds the current publication of each owned market. Prometheus' registry calls ``collect``.

    Use it from one thread only, that of the event loop, as the HTTP server here does.
    """

    def __init__(self, *, members_max: int = MEMBERS_MAX, series_max: int = SERIES_MAX) -> None:
        self._members_max = members_max
        self._series_max = series_max
        self._shown: dict[str, _Shown] = {}
        self._left_out = Tally[str]()
        self._dropped_total = 0

    def show(self, publication: Publication) -> None:
        """Export this publication from now on. The caller must own its market."""
        old = self._shown.get(publication.market)
        members = frozenset[Member]() if old is None else old.members
        self._shown[publication.market] = _Shown(publication, members)

    def drop(self, market: str) -> None:
        """Export nothing of ``market`` from the next scrape on."""
        self._shown.pop(market, None)
        del self._left_out[market]

    def describe(self) -> Iterator[Metric]:
        """The metric families, empty: with them the registry refuses a second metric of one name."""
        yield from self._families().values()

    def collect(self) -> Iterator[Metric]:
        """The metric families with the samples of every owned market."""
        families = self._families()
        for market, shown in sorted(self._shown.items()):
            if shown.series is None:
                self._build(shown)
            as_of_s = shown.publication.as_of_ms / 1000
            families["index_as_of_timestamp_seconds"].add_metric([market], as_of_s)
            for source, as_of_ms in shown.publication.sources.items():
                family = families["index_source_as_of_timestamp_seconds"]
                family.add_metric([market, source], as_of_ms / 1000)
        for series in self._within_limit():
            families[series.metric].samples.append(series.sample)
        families["series_dropped_total"].add_metric([], self._dropped_total)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for spec in INDEX:
            families[spec.name] = GaugeMetricFamily(spec.full_name, spec.help, labels=spec.labels)
        dropped = BY_NAME["series_dropped_total"]
        families[dropped.name] = CounterMetricFamily(dropped.full_name, dropped.help, labels=())
        return families

    def _build(self, shown: _Shown) -> None:
        values = shown.publication.values
        ranks = rank_members(values, shown.members)
        shown.members = frozenset(m for m, rank in ranks.items() if rank < self._members_max)
        # What pages is exported however small its member: a rule cannot fire on an absent series, and
        # its alert and its dashboard would say nothing of how large the shift is.
        ranks |= {
            _counted(status): _FIRST
            for status in shown.publication.watched
            if status.shift is not None
        }
        shown.series = [
            series
            for value in values
            for series in _series_of(value, ranks.get((value.dimension, value.member), _FIRST))
        ]
        shown.series += _page_series(shown.publication)
        shown.series += _other_series(shown.publication)
        incidents = incident_of(shown.publication.incidents)
        for status in shown.publication.watched:
            rank = ranks.get(_counted(status), _FIRST)
            shown.series += _shift_series(shown.publication.market, status, rank, incidents)

    def _within_limit(self) -> list[_Series]:
        """Series to export. Each series that begins to be left out is counted."""
        left_out = Tally[str]()
        kept: list[_Series] = []
        for market, shown in self._shown.items():
            assert shown.series is not None
            fitting = [series for series in shown.series if series.rank < self._members_max]
            left_out[market] = len(shown.series) - len(fitting)
            kept += fitting
        if len(kept) > self._series_max:
            kept.sort(key=lambda series: series.rank)  # the largest members of every market first
            for series in kept[self._series_max :]:
                left_out[series.sample.labels["market"]] += 1
            del kept[self._series_max :]
        self._dropped_total += (left_out - self._left_out).total()
        self._left_out = left_out
        return kept


def _counted(status: SeriesStatus) -> Member:
    """Member whose size decides whether the series of ``status`` has room."""
    dimension, member, _ = status.series
    return METHOD if dimension == PAYMENT_FAILURE else dimension, member


def _series_of(value: Value, rank: int) -> Iterator[_Series]:
    # A member of the market dimension other than `all`, or an `all` of another dimension, would be
    # counted twice by a sum over a label.
    if value.status != "ok" or (value.member == ALL) != (value.dimension == "market"):
        return
    for export in _EXPORTS.get((value.index, value.dimension), ()):
        number: float | None = getattr(value, export.of)
        if number is None or value.window not in export.windows:
            continue
        spec = BY_NAME[export.metric]
        labels = {"market": value.market}
        if value.dimension != "market":
            labels[spec.labels[1]] = value.member
        labels["window"] = value.window
        if export.by is not None:
            labels["by"] = export.by
        if export.of in {"lower", "upper"}:
            labels["bound"] = export.of
        yield _Series(rank, export.metric, Sample(spec.full_name, labels, float(number)))


def _page_series(publication: Publication) -> Iterator[_Series]:
    for count in publication.pages:
        of = {"market": publication.market, "days": str(count.days)}
        for name, labels, number in (
            ("shift_pages", {"word": "confirmed"}, count.confirmed),
            ("shift_pages", {"word": "false"}, count.false),
            ("shift_pages", {"word": "open"}, count.open),
            ("shift_false_pages_budget", {}, count.budget),
            ("shift_false_pages_limit", {"bound": "lower"}, count.lower),
            ("shift_false_pages_limit", {"bound": "upper"}, count.upper),
        ):
            sample = Sample(BY_NAME[name].full_name, of | labels, float(number))
            yield _Series(_FIRST, name, sample)


def _other_series(publication: Publication) -> Iterator[_Series]:
    """Of the newest local day. Payments are left out: their methods are those of the orders."""
    found = publication.others[0].dimensions if publication.others else []
    for each in found:
        if each.counted != ORDERS:
            continue
        of = {"market": publication.market}
        numbers: list[tuple[str, dict[str, str], int]] = [
            ("other_orders", {"dimension": each.dimension}, each.other),
            ("more_orders", {"dimension": each.dimension}, each.more),
        ]
        numbers += [
            ("undeclared_label_orders", {"dimension": each.dimension, "label": label}, count)
            for label, count in each.largest[:_LABELS_MAX]
        ]
        if each.dimension == CATEGORY:
            numbers.append(("local_day_orders", {}, each.total))
        for name, labels, number in numbers:
            sample = Sample(BY_NAME[name].full_name, of | labels, float(number))
            yield _Series(_FIRST, name, sample)


def _shift_series(
    market: str, status: SeriesStatus, rank: int, incidents: Mapping[ShiftName, str]
) -> Iterator[_Series]:
    labels = {
        "market": market,
        "dimension": status.series.dimension,
        "member": status.series.member,
    }
    # A page drops the detector's evidence. While a shift lasts, the evidence of its page is shown.
    evidence_of = status if status.shift is None else status.shift
    numbers = {
        "demand_shift_direction": status.direction,
        "demand_shift_evidence_ratio": evidence_of.evidence_ratio,
        "detector_warming": int(status.warming),
        "detector_restless": int(status.restless),
    }
    if status.shift is not None:
        numbers["demand_shift_start_timestamp_seconds"] = of_minute(status.shift.start) / 1000
    for name, number in numbers.items():
        sample = Sample(BY_NAME[name].full_name, labels, float(number))
        yield _Series(rank, name, sample)
    shift = status.shift
    incident = shift and incidents.get((shift.dimension, shift.member, shift.number))
    if incident:
        name = "demand_shift_incident_info"
        sample = Sample(BY_NAME[name].full_name, labels | {"incident": incident}, 1.0)
        yield _Series(rank, name, sample)
