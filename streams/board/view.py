"""What the page shows of one market, made from what Redis holds. Pure functions.

Numbers of the contract stay decimal text, as the HASH holds them, so that the page can show integers
beyond a double exactly. Only what is drawn as a line or a bar is a number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streams.board.shown_incidents import (
    IncidentsOfMarket,
    incidents_of,
    without_incident,
)
from streams.board.shown_shifts import ShownShift, active, expect_command
from streams.index.currencies import exponent
from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.labels import label
from streams.index.methodology import Market
from streams.index.shift_series import PAYMENT_FAILURE
from streams.index.values import WINDOWS_MS, Snapshot, Value, decimal
from streams.publish.incident_words import naming_of, zone_name
from streams.publish.other_records import read_others
from streams.publish.other_words import say_others
from streams.publish.ranking import ALL, rank_members
from streams.publish.restless_records import restless_series

MARKET, CATEGORY, METHOD = "market", "category", "payment_method"
DIMENSIONS = (CATEGORY, METHOD, "region", "channel")
MOVERS_MAX = 6
LABELS_MAX = 5


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value. ``expected``, ``lower`` and ``upper`` are absent until an expectation is known."""

    value: str | None = None
    status: str = "ok"
    revision: int = 0
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row: its cells by index and window. ``spark``: its orders of the last minute over time."""

    member: str
    label: str
    cells: dict[str, dict[str, Cell]]
    spark: list[list[float | None]] = []
    restless: bool = False
    """True when only a larger shift of its orders, or payments, pages."""


class Window(msgspec.Struct, frozen=True):
    """Status and coverage of a window, from the market's own orders."""

    status: str
    covered: float


class Mover(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member whose orders moved most. ``expected``: what ``basis`` names, for the same window."""

    dimension: str
    member: str
    label: str
    orders: float
    expected: float


class Movers(msgspec.Struct, frozen=True):
    """Largest differences first. ``basis``: `expected`, or the longer window used instead."""

    window: str
    basis: str
    members: list[Mover]


class ShownOthers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `other` of a dimension is made of: its share in words, labels and counts, and the rest."""

    id: str
    """``dimension:counted``."""
    head: str
    labels: list[tuple[str, str]]
    rest: str = ""


class MarketPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that the page shows of a market except its age."""

    market: str
    name: str
    currency: str | None
    exponent: int
    time_zone: str
    zone: str
    """Name of the zone at ``as_of``, as the sentences of incidents have it."""
    as_of: str
    edition: int
    phase: str
    windows: dict[str, Window]
    totals: dict[str, dict[str, Cell]]
    dimensions: dict[str, list[Member]]
    movers: Movers | None = None
    shifts: list[ShownShift] = []
    """Active shifts that belong to no incident shown."""
    incidents: IncidentsOfMarket = IncidentsOfMarket()
    spark_ms: list[int] = []
    """Instants of the points in every member's ``spark``."""
    spark: list[list[float | None]] = []
    """Spark of the market as a whole."""
    restless: bool = False
    """True when only a larger shift of the market as a whole pages."""
    others: list[ShownOthers] = []
    """What `other` is made of on the newest local day; empty while all labels have a member."""
    left_out: int = 0
    sources: dict[str, str] = {}
    """``as_of`` of each source; ``as_of`` is the least of those that joined."""


class Sparks(NamedTuple):
    """Orders of the last minute over time: instants, and the points at them by (dimension, member).

    A point is [value] or [value, expected, lower, upper].
    """

    times_ms: list[int]
    points: Mapping[tuple[str, str], list[list[float | None]]]


NO_SPARKS = Sparks([], {})


def market_page(
    snapshot: Snapshot,
    market: Market | None,
    *,
    sparks: Sparks = NO_SPARKS,
    shifts: Mapping[str, str] | None = None,
    incidents: Mapping[str, str] | None = None,
    suspicions: Mapping[str, str] | None = None,
    sent: Mapping[str, str] | None = None,
    restless: Sequence[str] = (),
    others: Mapping[str, str] | None = None,
    left_out: int = 0,
) -> MarketPage:
    """The page of a snapshot. ``market`` None: this board's methodology does not name the market.

    ``shifts``, ``incidents``, ``suspicions``, ``sent`` and ``others`` are the HASHes of these names; a
    record of an unknown shape is left out. ``restless``: the series that only a larger shift makes page.
    """
    naming = naming_of(snapshot.market, market)
    found = incidents_of(incidents or {}, suspicions or {}, naming, sent)
    unwatched = restless_series(restless)
    by_member: dict[tuple[str, str], dict[str, dict[str, Value]]] = {}
    for value in snapshot.values:
        if value.day is None:
            indices = by_member.setdefault((value.dimension, value.member), {})
            indices.setdefault(value.index, {})[value.window] = value
    totals = by_member.get((MARKET, ALL), {})
    windows = _windows(totals)
    return MarketPage(
        market=snapshot.market,
        name=snapshot.market if market is None else market.name,
        currency=None if market is None else market.currency,
        exponent=0 if market is None else exponent(market.currency),
        time_zone=naming.time_zone,
        zone=zone_name(snapshot.as_of, naming.time_zone),
        as_of=snapshot.as_of,
        edition=snapshot.edition,
        phase=snapshot.phase,
        windows=windows,
        totals=_cells(totals),
        dimensions={
            dimension: _members(dimension, by_member, longest(windows), sparks, unwatched)
            for dimension in DIMENSIONS
        },
        movers=_movers(by_member, windows),
        shifts=_loose(snapshot, shifts or {}, found),
        incidents=found,
        spark_ms=sparks.times_ms,
        spark=sparks.points.get((MARKET, ALL), []),
        restless=(MARKET, ALL) in unwatched,
        others=_others(others or {}),
        left_out=left_out,
        sources=snapshot.sources,
    )


def _loose(
    snapshot: Snapshot, records: Mapping[str, str], found: IncidentsOfMarket
) -> list[ShownShift]:
    """Return the shifts of no incident that is shown, each with a command to expect it."""
    now_ms = parse_instant(snapshot.as_of) or 0
    return [
        msgspec.structs.replace(shift, command=expect_command(snapshot.market, shift, now_ms))
        for shift in without_incident(active(records), found)
    ]


def _others(records: Mapping[str, str]) -> list[ShownOthers]:
    return [
        ShownOthers(f"{each.dimension}:{each.counted}", *say_others(each, of.day, LABELS_MAX))
        for of in read_others(records)[:1]
        for each in of.dimensions
        if each.says_something
    ]


def longest(windows: Mapping[str, Window]) -> str:
    """The longest window that the log covers. Ranking by it keeps rows from changing places."""
    covered = [name for name, window in windows.items() if window.status == "ok"]
    return covered[-1] if covered else next(iter(WINDOWS_MS))


def cell(value: Value) -> Cell:
    """Cell of a value, as the page gets it."""
    return Cell(
        None if value.value is None else decimal(value.value),
        value.status,
        value.revision,
        value.expected,
        value.lower,
        value.upper,
    )


def _windows(totals: Mapping[str, Mapping[str, Value]]) -> dict[str, Window]:
    orders = totals.get("orders", {})
    return {
        name: Window(orders[name].status, orders[name].covered)
        for name in WINDOWS_MS
        if name in orders
    }


def _cells(indices: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Cell]]:
    return {
        index: {window: cell(value) for window, value in by_window.items()}
        for index, by_window in indices.items()
    }


def _members(
    dimension: str,
    by_member: Mapping[tuple[str, str], Mapping[str, Mapping[str, Value]]],
    window: str,
    sparks: Sparks,
    restless: Collection[tuple[str, str]],
) -> list[Member]:
    own = {
        member: indices
        for (of, member), indices in by_member.items()
        if of == dimension and member != ALL
    }
    ranks = rank_members(
        by_window[window]
        for indices in own.values()
        for by_window in indices.values()
        if window in by_window
    )
    watched = (METHOD, PAYMENT_FAILURE) if dimension == METHOD else (dimension,)
    order = sorted(own, key=lambda member: (ranks.get((dimension, member), len(own)), member))
    return [
        Member(
            member,
            label(member),
            _cells(own[member]),
            sparks.points.get((dimension, member), []),
            any((of, member) in restless for of in watched),
        )
        for member in order
    ]


def _movers(
    by_member: Mapping[tuple[str, str], Mapping[str, Mapping[str, Value]]],
    windows: Mapping[str, Window],
) -> Movers | None:
    """Movers by X - E over 5 minutes. Without an expectation: last minute against a longer window."""
    covered = [name for name, window in windows.items() if window.status == "ok"]
    members = {
        key: indices["orders"]
        for key, indices in by_member.items()
        if key[0] in ("category", "region") and "orders" in indices
    }
    window = "5m" if "5m" in covered else "1m"
    known = {
        key: (float(value.value), value.expected)
        for key, orders in members.items()
        if (value := orders.get(window)) is not None
        and value.value is not None
        and value.expected is not None
    }
    if known:
        return Movers(window, "expected", _largest(known))
    longer = [name for name in covered if name != "1m"]
    if "1m" not in covered or not longer:
        return None
    # Only the covered part of an hour counts: its mean minute replaces the expectation. A day
    # would hide the hour of the day.
    basis = "1h" if "1h" in longer else longer[0]
    part = WINDOWS_MS["1m"] / WINDOWS_MS[basis]
    compared = {
        key: (float(now.value), float(expected.value) * part / expected.covered)
        for key, orders in members.items()
        if (now := orders.get("1m")) is not None
        and (expected := orders.get(basis)) is not None
        and now.value is not None
        and expected.value is not None
        and expected.covered
    }
    return Movers("1m", basis, _largest(compared))


def _largest(compared: Mapping[tuple[str, str], tuple[float, float]]) -> list[Mover]:
    movers = [
        Mover(dimension, member, label(member), orders, expected)
        for (dimension, member), (orders, expected) in compared.items()
        if orders != expected
    ]
    movers.sort(key=lambda each: (-abs(each.orders - each.expected), each.dimension, each.member))
    return movers[:MOVERS_MAX]


def encode(page: Any) -> bytes:
    """JSON without line breaks, as an event of a stream needs it."""
    return msgspec.json.encode(page)


_decode_point = json_reader(dict[str, Any])


def points_of(members: Iterable[str]) -> list[list[Any]]:
    """Members of the ZSET ``:history`` -> [as_of in ms, orders, sales] for the chart."""
    points = []
    for text in members:
        try:
            point = _decode_point(text)
        except msgspec.DecodeError:
            continue
        at_ms = parse_instant(str(point.get("as_of")))
        if at_ms is not None:
            points.append([at_ms, point.get("orders"), point.get("sales")])
    return points
