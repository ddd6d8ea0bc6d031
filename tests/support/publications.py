"""Publications of a small market with given numbers, for tests of publishing."""

from __future__ import annotations

import msgspec

from streams.flow.fence_record import FenceRecord
from streams.flow.publication import Publication
from streams.flow.shift_watch import ActiveShift, SeriesStatus
from streams.index.incident_measures import Affected, Excess, Measures
from streams.index.incidents import Incident, IncidentShift, incident_id
from streams.index.other_labels import OtherLabels, OthersOfDay, UndeclaredLabel
from streams.index.panes import DAY_MS, HOUR_MS, rfc3339
from streams.index.shift_ratio import Contributor, RatioInterval
from streams.index.shift_series import WatchedSeries
from streams.index.suspicions import Suspicion
from streams.index.values import Fence, Value

AS_OF_MS = 1_700_000_000_000 // 60_000 * 60_000
"""A full minute."""


def value(
    index="orders",
    dimension="category",
    member="books",
    window="1m",
    number=1,
    *,
    market="PK",
    as_of_ms=AS_OF_MS,
    status="ok",
    n=None,
    unit="count",
    revision=0,
    edition=1,
    day=None,
    phase="live",
    covered=1.0,
):
    return Value(
        market=market,
        index=index,
        dimension=dimension,
        member=member,
        window=window,
        as_of=rfc3339(as_of_ms),
        value=number,
        unit=unit,
        observed=number if isinstance(number, int) else None,
        covered=covered,
        n=(number if isinstance(number, int) else 1) if n is None else n,
        status=status,
        phase=phase,
        revision=revision,
        edition=edition,
        day=day,
    )


def status(dimension="category", member="books", *, evidence=0.0, direction=0, warming=False):
    """Status of a watched series. With a direction it has a shift that began ten minutes before."""
    minute = AS_OF_MS // 60_000
    shift = ActiveShift(
        dimension=dimension,
        member=member,
        number=1,
        direction=direction,
        clock="fast",
        start=minute - 10,
        found_at=minute - 6,
        evidence_ratio=2.5,
        interval=RatioInterval(60, 10.0, 6.0, 4.6, 7.7),
        contributors={"region": (Contributor("sindh", 31, 4.5, 26.5),)},
    )
    series = WatchedSeries(dimension, member, 0)
    return SeriesStatus(series, evidence, shift if direction else None, warming)


def suspicion(dimension="market", member="all", *, observed=0, expected=670.0, evidence=0.38):
    """A suspicion of the last 40 seconds, by default of a market that has stopped."""
    return Suspicion(
        dimension=dimension,
        member=member,
        direction=1 if observed > expected else -1,
        since_ms=AS_OF_MS - 40_000,
        until_ms=AS_OF_MS,
        observed=observed,
        expected=expected,
        evidence_ratio=evidence,
        surprise=24.5,
    )


def incident(*shifts, market="PK", measures=None, stopped=False, stopped_ms=0, **more):
    """An incident of shifts (``IncidentShift``), by default of the market's stop ten minutes before."""
    shifts = list(shifts) or [incident_shift()]
    lead = shifts[0]
    if stopped or stopped_ms:
        lead = shifts[0] = msgspec.structs.replace(lead, stopped_ms=stopped_ms or lead.start_ms)
    return Incident(
        id=incident_id(market, lead.found_ms, lead.direction),
        market=market,
        direction=lead.direction,
        start_ms=lead.start_ms,
        found_ms=lead.found_ms,
        shifts=shifts,
        measures=MEASURES if measures is None else measures,
        **more,
    )


def incident_shift(dimension="market", member="all", *, direction=-1, at_ms=AS_OF_MS, **more):
    """A shift of an incident: it began ten minutes before ``at_ms`` and was found after four."""
    return IncidentShift(
        dimension=dimension,
        member=member,
        number=1,
        direction=direction,
        clock="fast",
        start_ms=at_ms - 600_000,
        found_ms=at_ms - 360_000,
        evidence_ratio=2.5,
        interval=RatioInterval(40, 9_800.0, 0.004, 0.003, 0.006),
        **more,
    )


MEASURES = Measures(
    until_ms=AS_OF_MS,
    now_minutes=1,
    now=RatioInterval(0, 980.0, 0.0, 0.0, 0.004),
    difference=Excess(-9_760.0, -9_771.0, -9_741.0, -976_000, -977_100, -974_100),
    affected=(
        Affected("category", 2, 3, (Contributor("books", 4, 800.0, -796.0),)),
        Affected("region", 5, 5, (Contributor("sindh", 9, 2_000.0, -1_991.0),)),
    ),
)


def fence_record_of(edition, as_of_ms, applied):
    return FenceRecord(
        edition=edition,
        applied=applied,
        live=True,
        as_of={"orders": as_of_ms},
        headline=as_of_ms,
        joined=["orders"],
        first={"orders": as_of_ms - DAY_MS},
        hours_until=as_of_ms - HOUR_MS,
        days_until=19_600,
        horizon=as_of_ms - HOUR_MS,
    )


def others_of_day(*labels, day=20_000, dimension="category", **more):
    """What ``other`` of a day of 1,000 orders is made of: (label, orders), the largest first."""
    counts = {
        "total": 1_000, "other": sum(count for _, count in labels), "more": 0, "unnamed": 0,
        "undeclared": sum(count for _, count in labels), "labels": len(labels),
    }  # fmt: skip
    largest = [UndeclaredLabel(*each) for each in labels]
    fields = {"counted": "orders"} | counts | more
    found = OtherLabels(dimension=dimension, largest=largest, **fields)
    return OthersOfDay(day, AS_OF_MS, [found])


def publication(
    values=None,
    *,
    market="PK",
    edition=1,
    as_of_ms=AS_OF_MS,
    applied=10,
    generation=0,
    definitions=0,
    days=(),
    revisions=(),
    closings=(),
    changed=None,
    journal_changed=None,
    phase="live",
    watched=(),
    shifts=(),
    incidents=(),
    answers=None,
    pages=(),
    suspicions=(),
    others=(),
    inherited=None,
):
    values = [value(market=market, as_of_ms=as_of_ms)] if values is None else list(values)
    return Publication(
        market=market,
        fence=Fence(edition, generation, definitions, as_of_ms, applied),
        sources={"orders": as_of_ms},
        fence_record=fence_record_of(edition, as_of_ms, applied),
        as_of_ms=as_of_ms,
        phase=phase,
        values=values,
        changed=values if changed is None else list(changed),
        days=list(days),
        revisions=list(revisions),
        closings=list(closings),
        journal_changed=journal_changed,
        shifts=list(shifts),
        incidents=list(incidents),
        answers=answers or {},
        pages=list(pages),
        suspicions=list(suspicions),
        others=list(others),
        watched=list(watched),
        inherited=inherited,
    )


def market_values(market, categories, *, as_of_ms=AS_OF_MS, base=100, methods=("cod", "card")):
    """Values like those of a real market: every index of its categories, methods and total."""
    values = []
    for window in ("1m", "5m", "1h", "24h"):

        def add(index, dimension, member, number, window=window, **more):
            values.append(
                value(
                    index, dimension, member, window, number,
                    market=market, as_of_ms=as_of_ms, **more,
                )
            )  # fmt: skip

        for index in ("orders", "units", "sales", "payments", "amount"):
            add(index, "market", "all", base * len(categories))
        for index in ("digital_share", "payment_failure_ratio", "basket_sales", "basket_units"):
            add(index, "market", "all", base / 7, unit="ratio")
        for position, category in enumerate(categories):
            for index in ("orders", "units", "sales"):
                add(index, "category", category, base + position)
            for index in ("category_share_by_orders", "category_share_by_sales"):
                add(index, "category", category, (base + position) / (base * 17), unit="ratio")
        for position, method in enumerate(methods):
            for index in ("payments", "amount"):
                add(index, "payment_method", method, base + position)
            for index in (
                "payment_share_by_count", "payment_share_by_amount", "payment_chosen_share",
                "payment_failure_ratio",
            ):  # fmt: skip
                add(index, "payment_method", method, position / 13, unit="ratio")
    return values
